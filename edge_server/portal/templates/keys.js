/* Walks the links of a page with the arrow keys of a remote control. ECMAScript 3: a box of 2008 runs it.
   Everything works without it: links are links, and every browser has a way of its own to reach them. */
(function () {
  /* Key codes: PC browsers and Huawei or ZTE boxes; iPanel boxes (1 to 4, 339 and on); Tizen and webOS. */
  var KEYS = {
    37: "left", 38: "up", 39: "right", 40: "down", 13: "ok",
    1: "up", 2: "down", 3: "left", 4: "right",
    8: "back", 24: "back", 27: "back", 166: "back", 339: "back", 340: "back", 461: "back", 10009: "back",
    33: "prev", 34: "next", 372: "prev", 373: "next", 427: "prev", 428: "next",
    263: "play", 4160: "play", 4162: "play", 415: "play", 19: "play", 179: "play", 10252: "play",
    264: "forward", 417: "forward", 265: "rewind", 412: "rewind", 270: "stop", 4161: "stop", 413: "stop",
    275: "red", 276: "green", 277: "yellow", 278: "blue",
    2305: "red", 833: "green", 834: "yellow", 2308: "blue", 403: "red", 404: "green", 405: "yellow", 406: "blue"
  };
  var SEEK_S = 10, SAME_KEY_MS = 40;
  var ways = {}, last = { code: 0, at: 0, kind: "" }, focused = null;

  function tag(element) { return element && element.tagName ? element.tagName.toLowerCase() : ""; }
  function byId(id) { return document.getElementById(id); }

  function box(element) {
    if (element.getBoundingClientRect) {
      var found = element.getBoundingClientRect();
      return { left: found.left, top: found.top, right: found.right, bottom: found.bottom };
    }
    var left = 0, top = 0, each = element;
    while (each) { left += each.offsetLeft; top += each.offsetTop; each = each.offsetParent; }
    return { left: left, top: top, right: left + element.offsetWidth, bottom: top + element.offsetHeight };
  }

  function stops() {
    var all = document.getElementsByTagName("*"), found = [], i, each, kind;
    for (i = 0; i < all.length; i++) {
      each = all[i];
      kind = tag(each);
      if ((kind === "a" && each.href) || kind === "video" || kind === "button" ||
          (kind === "input" && each.type !== "hidden")) {
        if (each.offsetWidth > 0 && each.offsetHeight > 0) { found.push(each); }
      }
    }
    return found;
  }

  function place(list, element) {
    for (var i = 0; i < list.length; i++) { if (list[i] === element) { return i; } }
    return -1;
  }

  function mark(element, on) {
    var name = (" " + element.className + " ").replace(" on ", " ");
    element.className = (on ? name + "on" : name).replace(/^\s+|\s+$/g, "");
  }

  function show(element) {
    var at = box(element), high = window.innerHeight || document.documentElement.clientHeight, edge = 24, bar = byId("bar");
    if (bar && !inside(bar, element)) { high -= bar.offsetHeight; }
    if (at.top < edge) { window.scrollBy(0, at.top - edge); }
    else if (at.bottom > high - edge) { window.scrollBy(0, Math.min(at.bottom - high + edge, at.top - edge)); }
  }

  function inside(parent, element) {
    while (element) { if (element === parent) { return true; } element = element.parentNode; }
    return false;
  }

  function go(element) {
    if (!element) { return; }
    if (focused && focused !== element) { mark(focused, false); }
    focused = element;
    try { element.focus({ preventScroll: true }); } catch (e) { try { element.focus(); } catch (f) { } }
    mark(element, true);
    show(element);
  }

  function current() {
    var active = document.activeElement;
    return active && tag(active) !== "body" && tag(active) !== "html" ? active : focused;
  }

  /* The nearest stop in a direction. Left and right stay in the row, and go on in the order of the page at its end;
     up and down take the nearest row, and in it what is nearest. */
  function neighbour(list, from, way) {
    var a = box(from), best = null, least = 1e9, i, b, gap, aside, score;
    for (i = 0; i < list.length; i++) {
      if (list[i] === from) { continue; }
      b = box(list[i]);
      if (way === "left" || way === "right") {
        aside = Math.max(a.top, b.top) - Math.min(a.bottom, b.bottom);
        gap = way === "right" ? b.left - a.right : a.left - b.right;
        if (aside > -4 || gap < -4) { continue; }
        score = gap - aside / 100;
      } else {
        aside = Math.max(0, Math.max(a.left, b.left) - Math.min(a.right, b.right));
        gap = way === "down" ? b.top - a.bottom : a.top - b.bottom;
        if (gap < -4) { continue; }
        score = gap * 3 + aside + Math.abs(a.left + a.right - b.left - b.right) / 100;
      }
      if (score < least) { least = score; best = list[i]; }
    }
    if (!best && (way === "left" || way === "right")) {
      best = list[place(list, from) + (way === "right" ? 1 : -1)] || null;
    }
    return best;
  }

  function far(from, to, way) {
    var high = window.innerHeight || document.documentElement.clientHeight, at = box(to);
    return way === "down" ? at.top > high + high / 2 : way === "up" ? at.bottom < -high / 2 : false;
  }

  function move(way) {
    var list = stops(), from = current(), to;
    if (!list.length) { return false; }
    if (place(list, from) < 0) { go(list[0]); return true; }
    to = neighbour(list, from, way);
    if (to && far(from, to, way)) { return false; }
    if (to) { go(to); return true; }
    return false;
  }

  function linked(rel) {
    var all = document.getElementsByTagName("a");
    for (var i = 0; i < all.length; i++) { if (all[i].getAttribute("rel") === rel) { return all[i]; } }
    return null;
  }

  function follow(link) {
    if (!link) { return false; }
    window.location.href = link.href;
    return true;
  }

  function film() { return document.getElementsByTagName("video")[0] || null; }

  function seek(seconds) {
    var video = film();
    if (!video || !video.duration) { return false; }
    video.currentTime = Math.max(0, Math.min(video.duration - 0.5, video.currentTime + seconds));
    return true;
  }

  function toggle() {
    var video = film();
    if (!video || !video.play) { return false; }
    if (video.paused || video.ended) { video.play(); } else { video.pause(); }
    return true;
  }

  function step(way) {
    var at = current(), kind = tag(at);
    if (way === "left" || way === "right") {
      if (kind === "video") { return seek(way === "left" ? -SEEK_S : SEEK_S); }
      if (kind === "input" && at.type !== "submit" && at.value) { return false; }
    }
    return move(way);
  }

  ways.ok = function () {
    if (tag(current()) === "video") { return toggle(); }
    if (focused && document.activeElement !== focused && tag(focused) === "a") { return follow(focused); }
    return false;
  };
  ways.back = function () { return follow(byId("back")); };
  ways.prev = function () { return follow(linked("prev")); };
  ways.next = function () { return follow(linked("next")); };
  ways.play = toggle;
  ways.forward = function () { return seek(SEEK_S); };
  ways.rewind = function () { return seek(-SEEK_S); };
  ways.stop = function () { var video = film(); if (video && video.pause) { video.pause(); return true; } return false; };
  ways.red = function () { return follow(byId("home")); };

  function typing(code) {
    var at = document.activeElement;
    return tag(at) === "input" && at.type !== "submit" && at.value && code === 8;
  }

  /* Some boxes tell a key in other events than keydown, or in several: it counts once. */
  function heard(event, kind) {
    event = event || window.event;
    var code = event.keyCode || event.which || 0, now = new Date().getTime(), told = byId("code"), name;
    if (kind === "keypress" && last.kind === "keydown") { return true; }
    if (event.altKey || event.ctrlKey || event.metaKey) { return true; }
    if (code === last.code && kind !== last.kind && now - last.at < SAME_KEY_MS) { return false; }
    last = { code: code, at: now, kind: kind };
    name = KEYS[code] || "";
    if (told) { told.innerHTML = code + (name ? " " + name : ""); }
    if (!name || typing(code)) { return true; }
    if (name === "left" || name === "right" || name === "up" || name === "down" ? step(name) : ways[name] && ways[name]()) {
      if (event.preventDefault) { event.preventDefault(); }
      event.returnValue = false;
      return false;
    }
    return true;
  }

  function start() {
    var list = stops(), all = document.getElementsByTagName("*"), active = current(), i;
    if (place(list, active) >= 0) { go(active); return; }
    for (i = 0; i < all.length; i++) {
      if (all[i].getAttribute("autofocus") !== null && place(list, all[i]) >= 0) { go(all[i]); return; }
    }
    if (list.length) { go(list[0]); }
  }

  document.onkeydown = function (event) { return heard(event, "keydown"); };
  document.onkeypress = function (event) { return heard(event, "keypress"); };
  document.onirkeypress = function (event) { return heard(event, "irkeypress"); };
  document.onsystemevent = function (event) { return heard(event, "systemevent"); };
  if (document.addEventListener) {
    document.addEventListener("focus", function (event) {
      if (event.target !== document && event.target !== focused) {
        if (focused) { mark(focused, false); }
        focused = event.target;
        if (focused && focused.className !== undefined) { mark(focused, true); }
      }
    }, true);
  }
  start();
}());
