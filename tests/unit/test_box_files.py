import pytest

from stb_emulator.boxes import BoxError, load_all, parse, unit


@pytest.fixture
def text() -> str:
    from importlib import resources

    return (resources.files("stb_emulator.boxes") / "ctc_hw_old.toml").read_text(encoding="utf-8")


def test_the_two_oldest_boxes_disagree() -> None:
    boxes = load_all()
    ctc, cu = boxes["ctc_hw_old"], boxes["cu_hw_old"]
    assert ctc.rtsp and cu.rtsp and ctc.huawei and cu.huawei and ctc.proof and cu.proof
    # stb_protocols §4.4, orders 3 and 0
    assert ctc.rtsp.transports == ("MP2T/RTP/UDP", "MP2T/UDP", "MP2T/TCP", "MP2T/RTP/TCP")
    assert cu.rtsp.transports == ("MP2T/TCP", "MP2T/RTP/TCP", "MP2T/RTP/UDP", "MP2T/UDP")
    assert (ctc.proof.key_type, ctc.huawei.browse) == ("0001", "channels")
    assert (cu.proof.key_type, cu.proof.md5_hex, cu.huawei.browse) == ("0002", "unpadded", "template")


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ('era = "old"', 'era = "old"\ncolour = "black"', "colour"),
        ("keep_alive_s = 30.0", "keep_alive_sec = 30.0", "keep_alive_s"),
        ("transport_order = 3", "transport_order = 4", "transport_order"),
        ('name = "ctc_hw_old"', 'name = "another"', "another"),
        ('portal = "huawei"', 'portal = "web"', "huawei"),
        ('player = "rtsp"', 'player = "progressive"', "rtsp"),
        ('mac = "1A:2B:3C:4D:5E:6F"', 'mac = "1A:2B:3C:4D:5E:70"', "stb_id"),
        ('mac = "1A:2B:3C:4D:5E:6F"', 'mac = "1a2b3c4d5e6f"', "six pairs"),
        ("[proof]", "[prof]", "prof"),
        ('era = "old"', "era = old", "TOML"),
    ],
)
def test_a_wrong_box_file_is_refused_by_name(text: str, old: str, new: str, word: str) -> None:
    assert old in text
    with pytest.raises(BoxError, match=word):
        parse(text.replace(old, new, 1), "ctc_hw_old")


def test_devices_of_one_model_differ_in_mac_and_stbid() -> None:
    box = load_all()["ctc_hw_old"]
    other = unit(box, 0x91)
    assert box.device and other.device
    assert other.device.mac == "1A:2B:3C:4D:5F:00"
    assert other.device.stb_id == "0010019900E0680200001A2B3C4D5F00"
    assert unit(load_all()["new_hls_ts"], 5) == load_all()["new_hls_ts"]
