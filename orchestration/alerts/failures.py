"""Why a message was not accepted: from what Apprise logged to words of ours, without anything of the URL."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from orchestration.alerts.messages import NO_ANSWER

# Failures before the service saw the message.
NEVER_ARRIVED = {
    "refused": "connection refused",
    "NameResolution": "the host is unknown",
    "Name or service not known": "the host is unknown",
    "ConnectTimeout": "no connection in time",
    "SSLError": "the certificate or the TLS handshake failed",
    "CERTIFICATE_VERIFY_FAILED": "the certificate was not accepted",
    "NewConnectionError": "no connection",
}

# An answer that ends before its end: the service had the message.
CUT_ANSWER = "the answer broke off"

# What a service answers when it is not the message that is wrong: the key, the address, the moment.
HTTP_SETTINGS = frozenset({401, 402, 403, 404, 405, 407, 408, 421, 423, 425, 429})
SMTP_SETTINGS = frozenset({530, 534, 535, 538})


@dataclass(frozen=True)
class Failure:
    """How an attempt failed.

    Attributes:
        reason: in words of ours, without anything of the URL.
        maybe_delivered: whether the channel may have accepted the message, or a part of it, all the same.
        for_good: whether it would be refused again.
    """

    reason: str
    maybe_delivered: bool
    for_good: bool

    @property
    def unanswered(self) -> bool:
        """Whether the service may have accepted it and never says so; one that is down refuses, closes, or says 5xx."""
        return self.reason in (NO_ANSWER, CUT_ANSWER)


def failure_in(lines: Sequence[str], redirect: str = "") -> Failure:
    """Why a channel did not accept a message, in words of ours: a log line may hold a token, a reason may not.

    `lines` are what Apprise logged of an attempt; `redirect` says where the service redirected it to, if it did.
    """
    text = "\n".join(lines)
    # A message in several parts or to several recipients: some of it has arrived.
    partly = any(line.startswith("Sent ") for line in lines)
    codes = [int(code) for code in re.findall(r"\berror=(\d{3})\b", text)]
    # A server that fails may have done its work before; a gateway does not know.
    maybe_delivered = partly or any(code >= 500 for code in codes)
    if redirect:
        return Failure(redirect, maybe_delivered, for_good=False)
    if codes:
        return Failure(f"HTTP {codes[0]}", maybe_delivered, all(_refuses(code) for code in codes))
    if found := re.search(r"Socket Exception: .*?\((\d{3}), ", text):
        code = int(found[1])
        return Failure(f"SMTP {code}", partly, code >= 500 and code not in SMTP_SETTINGS)
    for sign, reason in NEVER_ARRIVED.items():
        if sign in text:
            return Failure(reason, partly, for_good=False)
    if re.search(r"timed? ?out", text, re.IGNORECASE):
        return Failure(NO_ANSWER, maybe_delivered=True, for_good=False)
    if "IncompleteRead" in text:
        return Failure(CUT_ANSWER, maybe_delivered=True, for_good=False)
    # Without an error of the network: Apprise or the service would not have this message.
    return Failure("not accepted", maybe_delivered=True, for_good="Exception: " not in text)


def _refuses(code: int) -> bool:
    """Whether a status of HTTP means that the same message will never be accepted; 200 with a refusal inside does."""
    return 200 <= code < 300 or (400 <= code < 500 and code not in HTTP_SETTINGS)
