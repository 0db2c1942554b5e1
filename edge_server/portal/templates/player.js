/* Watches the film: sound without a picture, a stop that does not end, a file that cannot be played. It takes the next way
   of playing, says in plain words what happened, and tells the edge once. ECMAScript 3; without it the film plays as ever. */
(function () {
  var LOOK_MS = 1000, STALL_S = 8, PICTURE_S = 2, HAVE_FUTURE_DATA = 3, NO_SOURCE = 3;
  var film = document.getElementsByTagName("video")[0];
  if (!film || !film.play) { return; }
  var ways = [], told = {}, place = 0, still = 0, last = -1, begun = -1, wanted = false, done = false, first = "";

  function byId(id) { return document.getElementById(id); }

  /* The order: what the page names (MP4, small MP4; a channel has its playlist), then the lesson's playlist. */
  function collect() {
    var all = film.getElementsByTagName("source"), i, list = film.getAttribute("data-hls");
    for (i = 0; i < all.length; i++) { ways.push(all[i].src); }
    if (!ways.length && film.src) { ways.push(film.src); }
    if (list && film.canPlayType && film.canPlayType("application/vnd.apple.mpegurl")) { ways.push(list); }
  }

  function say(id) {
    var all = ["told-other", "told-no-picture", "told-stall", "told-cannot-play"], i, each;
    for (i = 0; i < all.length; i++) {
      each = byId(all[i]);
      if (each) { each.style.display = all[i] === id ? "block" : "none"; }
    }
  }

  function report(what) {
    var request, body;
    if (told[what] || !window.XMLHttpRequest) { return; }
    told[what] = true;
    body = "what=" + what + "&item=" + encodeURIComponent(film.getAttribute("data-item") || "") +
      "&way=" + encodeURIComponent((ways[place] || "").split("/").pop()) + "&at=" + Math.round(film.currentTime || 0);
    try {
      request = new XMLHttpRequest();
      request.open("POST", "/study/seen", true);
      request.setRequestHeader("Content-Type", "application/x-www-form-urlencoded");
      request.send(body);
    } catch (e) { }
  }

  function start(at) {
    var once = true, promise;
    film.onloadedmetadata = function () {
      if (once && at > 0) { once = false; try { film.currentTime = at; } catch (e) { } }
    };
    promise = film.play();
    if (promise && promise["catch"]) { promise["catch"](function () { }); }
  }

  function fail(what) {
    var at = film.currentTime || 0;
    if (!first) { first = what; report(what); }
    still = 0;
    last = begun = -1;
    if (place + 1 < ways.length) {
      place++;
      say("told-other");
      film.src = ways[place];
      film.load();
      start(at);
      return;
    }
    say("told-" + first);
    if (first === "no-picture" && film.pause) { film.pause(); }
    last = at;
    if (what !== "stall") { done = true; }
  }

  function shows() {
    var quality = film.getVideoPlaybackQuality ? film.getVideoPlaybackQuality() : null;
    if (film.videoWidth === 0) { return false; }
    return !quality || quality.totalVideoFrames !== 0;
  }

  function look() {
    var now = film.currentTime || 0;
    if (document.hidden) { last = begun = -1; still = 0; return; }
    if (done) {
      if (now === last || film.error) { last = now; return; }
      done = false;
    }
    if (film.error || film.networkState === NO_SOURCE) { fail("cannot-play"); return; }
    if (!film.paused) { wanted = true; }
    if (!wanted) { return; }
    if (film.paused || film.ended || film.seeking) { still = 0; last = now; begun = -1; return; }
    if (now !== last) {
      if (begun < 0 || now < begun) { begun = now; }
      if (now - begun >= PICTURE_S) {
        if (!shows()) { fail("no-picture"); return; }
        say(first = "");
      }
      still = 0;
    } else if (film.readyState < HAVE_FUTURE_DATA) {
      still += LOOK_MS / 1000;
      if (still >= STALL_S) { fail("stall"); return; }
    }
    last = now;
  }

  collect();
  window.setInterval(look, LOOK_MS);
}());
