"""Answers that a test orders: a request held for ever, throttled, denied, or made with expired credentials."""

import json
import threading
from dataclasses import dataclass

from .aws_request import Answer, Request

EC2_CODES = {"throttle": "RequestLimitExceeded", "deny": "UnauthorizedOperation", "expired": "RequestExpired"}
QUERY_CODES = {"throttle": "Throttling", "deny": "AccessDenied", "expired": "ExpiredToken"}
JSON_CODES = {"throttle": "ThrottlingException", "deny": "AccessDeniedException", "expired": "ExpiredTokenException"}
STATUS = {
    "ec2": {"throttle": 503, "deny": 403, "expired": 400},
    "eks": {"throttle": 429, "deny": 403, "expired": 403},
}
MESSAGES = {
    "throttle": "Rate exceeded",
    "expired": "The security token included in the request is expired",
}


@dataclass
class Fault:
    """`kind` is `hold`, `throttle`, `deny`, `expired`, `drop` (the connection is closed) or `error` (with `code`)."""

    kind: str
    action: str = "*"
    service: str = "*"
    access_key: str = "*"
    times: int = 1_000_000
    applied: bool = False  # a held or dropped request: does it take effect before?
    code: str = ""
    message: str = ""
    status: int = 400
    hits: int = 0

    def meets(self, request: Request) -> bool:
        return self.hits < self.times and all(
            wanted in ("*", actual)
            for wanted, actual in (
                (self.action, request.action),
                (self.service, request.service),
                (self.access_key, request.access_key),
            )
        )


class Faults:
    def __init__(self):
        self._rules: list[Fault] = []
        self._lock = threading.Lock()
        self.released = threading.Event()  # set when the harness stops, so that held requests end

    def add(self, fault: Fault) -> Fault:
        with self._lock:
            self._rules.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def pick(self, request: Request) -> Fault | None:
        with self._lock:
            for rule in self._rules:
                if rule.meets(request):
                    rule.hits += 1
                    return rule
        return None


def answer(fault: Fault, request: Request) -> Answer:
    """The error answer of a fault, in the form of the service's protocol."""
    protocol = {"ec2": EC2_CODES, "eks": JSON_CODES, "ssm": JSON_CODES, "kms": JSON_CODES, "logs": JSON_CODES}
    codes = protocol.get(request.service, JSON_CODES if "x-amz-target" in request.headers else QUERY_CODES)
    code = fault.code or codes.get(fault.kind, "InternalFailure")
    status = STATUS.get(request.service, {}).get(fault.kind, 403 if fault.kind == "deny" else 400)
    denied = f"User is not authorized to perform: {request.service}:{request.action}"
    message = fault.message or MESSAGES.get(fault.kind) or denied
    return error(request.service, fault.status if fault.kind == "error" else status, code, message, codes is JSON_CODES)


def error(service: str, status: int, code: str, message: str, is_json: bool) -> Answer:
    identity = "00000000-0000-4000-8000-000000000000"
    if is_json:
        headers = [("Content-Type", "application/json"), ("x-amzn-errortype", code), ("x-amzn-requestid", identity)]
        return Answer(status, json.dumps({"__type": code, "message": message}).encode(), headers)
    inner = f"<Code>{code}</Code><Message>{message}</Message>"
    if service == "ec2":
        text = f"<Response><Errors><Error>{inner}</Error></Errors><RequestID>{identity}</RequestID></Response>"
    else:
        text = (
            f"<ErrorResponse><Error><Type>Sender</Type>{inner}</Error><RequestId>{identity}</RequestId></ErrorResponse>"
        )
    return Answer(status, text.encode(), [("Content-Type", "text/xml"), ("x-amzn-requestid", identity)])
