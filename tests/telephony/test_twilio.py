"""Wire messages against golden fixtures, TwiML, and signatures against Twilio's own validator."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from telephony import twilio
from telephony.twilio import SignatureChecker, WireError, parse_message

FIXTURES = Path(__file__).parent / "fixtures"
INBOUND = json.loads((FIXTURES / "twilio_inbound.json").read_text())
OUTBOUND = json.loads((FIXTURES / "twilio_outbound.json").read_text())


@pytest.mark.parametrize("golden", INBOUND, ids=lambda golden: golden["name"])
def test_real_messages_become_events(golden: dict[str, Any]) -> None:
    event = parse_message(json.dumps(golden["message"]))
    assert type(event).__name__ == golden["type"]
    fields = {
        key: value.hex() if isinstance(value, bytes) else list(value) if isinstance(value, tuple) else value
        for key, value in dataclasses.asdict(event).items()
    }
    assert fields == golden["fields"]


@pytest.mark.parametrize("golden", OUTBOUND, ids=lambda golden: golden["name"])
def test_what_we_send_is_what_twilio_documents(golden: dict[str, Any]) -> None:
    sid, argument = golden["stream_sid"], golden["argument"]
    text = {
        "media": lambda: twilio.media_message(sid, bytes.fromhex(argument)),
        "mark": lambda: twilio.mark_message(sid, argument),
        "clear": lambda: twilio.clear_message(sid),
    }[golden["name"]]()
    assert json.loads(text) == golden["message"]


def _inbound(name: str, **changes: Any) -> str:
    message = json.loads(json.dumps(next(golden["message"] for golden in INBOUND if golden["name"] == name)))
    for path, value in changes.items():
        *folders, last = path.split("__")
        place = message
        for folder in folders:
            place = place[folder]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return json.dumps(message)


@pytest.mark.parametrize(
    ("message", "fault", "says"),
    [
        ('{"event":"media",', "broken_json", "expected a JSON object"),
        ("[" * 30_000, "broken_json", "expected a JSON object"),
        ("[1]", "bad_shape", "expected a JSON object"),
        ('{"streamSid":"MZ1"}', "bad_shape", "text field 'event'"),
        ('{"event":7}', "bad_shape", "text field 'event'"),
        (b"\x00\x01", "not_text", "expected a text frame; got a binary one of 2 bytes"),
        ("x" * 1_000_000, "too_long", "at most 65536 bytes; got 1000000"),
        (_inbound("media", streamSid=None), "bad_shape", "valid streamSid (Field required); got nothing"),
        (_inbound("media", media__payload=None), "bad_shape", "valid media.payload"),
        (_inbound("media", media__chunk="one"), "bad_shape", "valid media.chunk"),
        (_inbound("media", media__timestamp="-20"), "bad_shape", "valid media.timestamp"),
        (_inbound("media", media__payload="/38"), "bad_payload", "media.payload in base64"),
        (_inbound("media", media__payload="/3*8A"), "bad_payload", "media.payload in base64"),
        (_inbound("media", media__payload=""), "bad_payload", "at least one u-law byte"),
        (_inbound("dtmf", dtmf__digit="12"), "bad_shape", "valid dtmf.digit"),
        (_inbound("mark", mark="x"), "bad_shape", "valid mark"),
        (_inbound("start", start__streamSid="MZother"), "bad_shape", "the same streamSid twice"),
        (_inbound("start", start__mediaFormat__sampleRate="fast"), "bad_shape", "start.mediaFormat.sampleRate"),
    ],
)
def test_bad_messages_say_what_was_expected_and_what_came(message: str | bytes, fault: str, says: str) -> None:
    with pytest.raises(WireError) as caught:
        parse_message(message)
    assert caught.value.fault == fault
    assert says in str(caught.value)
    assert len(str(caught.value)) < 400


@settings(max_examples=60, deadline=None)
@given(st.text() | st.binary() | st.recursive(st.none() | st.text(), lambda inner: st.lists(inner)).map(json.dumps))
def test_any_other_message_is_a_wire_error(message: str | bytes) -> None:
    with pytest.raises(WireError):
        parse_message(message)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["connected", "start", "media", "dtmf", "mark", "stop"]),
    st.dictionaries(
        st.sampled_from(["streamSid", "start", "media", "mark", "dtmf", "stop", "payload", "chunk"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
            max_leaves=8,
        ),
    ),
)
def test_no_shape_of_a_known_event_raises_anything_else(event: str, rest: dict[str, Any]) -> None:
    with contextlib.suppress(WireError):
        parse_message(json.dumps({**rest, "event": event}))


COUNTS = st.integers(-1, 10**20).map(str) | st.text("0123456789+-._ \u0664", max_size=6) | st.integers() | st.none()
PAYLOADS = st.binary(max_size=9).map(lambda ulaw: base64.b64encode(ulaw).decode()) | st.text("AQ/+_-=\n é", max_size=9)


def _outcome(text: str) -> twilio.WireEvent | tuple[str, str]:
    try:
        return parse_message(text)
    except WireError as error:
        return error.fault, str(error)


@settings(max_examples=300, deadline=None)
@given(
    event=st.just("media") | st.sampled_from(["mark", "stop", "", 7]),
    sid=st.text(max_size=4) | st.none(),
    track=st.text(max_size=4) | st.integers(),
    chunk=COUNTS,
    timestamp=COUNTS,
    payload=PAYLOADS,
    order=st.permutations(["event", "streamSid", "media", "sequenceNumber"]),
)
def test_the_quick_reader_of_media_agrees_with_the_one_that_reads_everything(
    event: str | int,
    sid: str | None,
    track: str | int,
    chunk: str | int | None,
    timestamp: str | int | None,
    payload: str,
    order: list[str],
) -> None:
    body = {"track": track, "chunk": chunk, "timestamp": timestamp, "payload": payload}
    message = {"event": event, "streamSid": sid, "media": body, "sequenceNumber": "4"}
    ordered = {key: message[key] for key in order}
    # A field that Twilio does not document is for the other reader to pass over.
    assert _outcome(json.dumps(ordered)) == _outcome(json.dumps(ordered | {"media": body | {"new": 1}}))


def test_usual_media_never_reaches_the_slow_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twilio.json, "loads", lambda text: pytest.fail(f"was read slowly: {text}"))
    golden = next(golden for golden in INBOUND if golden["type"] == "Media")
    assert isinstance(parse_message(json.dumps(golden["message"])), twilio.Media)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30), st.binary(max_size=320))
def test_media_is_written_as_json_would_write_it(sid: str, ulaw: bytes) -> None:
    payload = base64.b64encode(ulaw).decode()
    expected = json.dumps({"event": "media", "streamSid": sid, "media": {"payload": payload}})
    assert twilio.media_message(sid, ulaw) == expected


def test_an_odd_number_of_samples_is_legal() -> None:
    event = parse_message(_inbound("media", media__payload="/w=="))
    assert isinstance(event, twilio.Media)
    assert event.ulaw == b"\xff"


@pytest.mark.parametrize(
    "changes",
    [
        {"start__mediaFormat__encoding": "audio/l16"},
        {"start__mediaFormat__sampleRate": 16_000},
        {"start__mediaFormat__channels": 2},
        {"start__tracks": ["outbound"]},
    ],
)
def test_another_format_is_refused_by_name(changes: dict[str, Any]) -> None:
    start = parse_message(_inbound("start", **changes))
    assert isinstance(start, twilio.Start)
    with pytest.raises(WireError, match="expected start") as caught:
        twilio.check_media_format(start)
    assert caught.value.fault == "wrong_format"


def test_the_stream_twiml_is_what_twilio_documents() -> None:
    text = twilio.stream_twiml(
        "wss://example.com/media",
        action_url="https://example.com/action?attempt=1",
        parameters={"token": 'a"<&', "caller": "+1"},
    )
    root = ElementTree.fromstring(text)
    connect = root[0]
    stream = connect[0]
    assert [root.tag, connect.tag, stream.tag] == ["Response", "Connect", "Stream"]
    assert connect.attrib == {"action": "https://example.com/action?attempt=1", "method": "POST"}
    assert stream.attrib == {"url": "wss://example.com/media"}
    assert [parameter.attrib for parameter in stream] == [
        {"name": "token", "value": 'a"<&'},
        {"name": "caller", "value": "+1"},
    ]


@pytest.mark.parametrize(
    "url", ["ws://example.com/media", "wss://example.com/media?token=1", "wss:///media", "https://x"]
)
def test_a_stream_url_that_twilio_would_refuse_is_refused_here(url: str) -> None:
    with pytest.raises(ValueError, match="expected wss://host/path without a query"):
        twilio.stream_twiml(url, action_url="https://example.com/action", parameters={})


def test_a_parameter_over_twilios_limit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'token'.*under 500 characters"):
        twilio.stream_twiml("wss://x/y", action_url="https://x/a", parameters={"token": "t" * 495})


TOKEN = "12345"
FORM = {"CallSid": "CA1", "From": "+15550100", "Digits": "12", "Empty": ""}


@pytest.mark.parametrize(
    ("caller", "signature"),
    [("+12349013030", "0/KCTR6DLpKmkAf8muzZqo1nDgQ="), ("+14158675309", "RSOYDt4T1cUTdK1PDd93/VVr8B8=")],
)
def test_twilios_published_signatures_pass(caller: str, signature: str) -> None:
    # The worked examples of Twilio's "Security" page and of its helper libraries.
    form = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": caller,
        "Digits": "1234",
        "From": caller,
        "To": "+18005551212",
    }
    checker = SignatureChecker(TOKEN, "https://mycompany.com")
    assert checker.webhook_ok("/myapp.php", form, signature, query="foo=1&bar=2")
    assert not checker.webhook_ok("/myapp.php", form, signature)


@pytest.mark.parametrize("public_url", ["https://a.example", "https://a.example/", "https://a.example:8443/pre/fix/"])
def test_webhook_signatures_agree_with_twilios_validator(public_url: str) -> None:
    oracle, checker = RequestValidator(TOKEN), SignatureChecker(TOKEN, public_url)
    url = public_url.rstrip("/") + "/voice"
    signature = oracle.compute_signature(url, FORM)
    assert oracle.validate(url, FORM, signature)
    assert checker.webhook_ok("/voice", FORM, signature)
    assert not checker.webhook_ok("/voice", FORM | {"Digits": "13"}, signature)
    assert not checker.webhook_ok("/other", FORM, signature)
    assert not checker.webhook_ok("/voice", FORM, signature, query="a=1")
    assert not SignatureChecker("another", public_url).webhook_ok("/voice", FORM, signature)


@pytest.mark.parametrize(
    "signed",
    ["wss://a.example/media", "wss://a.example:443/media", "wss://a.example/media/", "wss://a.example:443/media/"],
)
def test_socket_signatures_pass_in_each_form_that_twilio_uses(signed: str) -> None:
    checker = SignatureChecker(TOKEN, "https://a.example")
    signature = RequestValidator(TOKEN).compute_signature(signed, {})
    assert checker.socket_ok("/media", signature)
    assert not checker.socket_ok("/medium", signature)
    assert not checker.webhook_ok("/media", {}, signature)


@pytest.mark.parametrize("signature", [None, "", "forged", "f\u00f6rged", "\ud800"])
def test_a_missing_or_forged_signature_fails_without_an_exception(signature: str | None) -> None:
    checker = SignatureChecker(TOKEN, "https://a.example")
    assert checker.socket_ok("/media", signature) is False
    assert checker.webhook_ok("/voice", FORM, signature) is False


@pytest.mark.parametrize(
    ("auth_token", "url"), [(TOKEN, "http://a.example"), (TOKEN, "a.example"), ("", "https://a.example")]
)
def test_a_checker_needs_a_secret_and_a_public_https_url(auth_token: str, url: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        SignatureChecker(auth_token, url)
