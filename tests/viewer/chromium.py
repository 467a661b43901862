"""Chromium without a window, driven over its DevTools protocol."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

PROGRAM = shutil.which("chromium")
_READY = "DevTools listening on "


@contextmanager
def chromium(folder: Path) -> Iterator[Chromium]:
    """A browser with one page, its profile in an empty folder."""
    assert PROGRAM is not None
    process = subprocess.Popen(
        [
            PROGRAM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-dev-shm-usage", "--disable-background-networking",
            "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank",
        ],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        address = next((line for line in process.stderr if _READY in line), None)
        assert address is not None, "chromium did not start"
        with connect(address.partition(_READY)[2].strip(), max_size=2**26, proxy=None) as socket:
            yield Chromium(socket)
    finally:
        process.terminate()
        process.wait(20)
        process.stderr.close()


class Chromium:
    """A browser with one page. `requested` are the addresses of all that the page asked for,
    `complaints` what it said of errors, `patience` the seconds that it has for an answer."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._number, self._session = socket, 0, None
        self.patience = 60.0
        self.requested: list[str] = []
        self.complaints: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        found = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = found["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        size = {"width": 1100, "height": 760, "deviceScaleFactor": 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        self.prefer("light")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command and what it answers; what else is told meanwhile is noted."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            told = json.loads(self._socket.recv(timeout=self.patience))
            if told.get("id") == self._number:
                if "error" in told:
                    raise RuntimeError(f"{method}: {told['error']['message']}")
                return told["result"]
            self._note(told)

    def _note(self, told: dict[str, Any]) -> None:
        method, parameters = told.get("method"), told.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requested.append(parameters["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", str(details)))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.complaints.append(parameters["entry"]["text"])

    def prefer(self, scheme: str) -> None:
        """What the system prefers, "dark" or "light"."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.send("Emulation.setEmulatedMedia", features=features)

    def open(self, address: str) -> None:
        """Goes to an address, through a blank page, so that all of it is loaded anew."""
        self.send("Page.navigate", url="about:blank")
        self.send("Page.navigate", url=address)

    def forget(self) -> None:
        """Leaves the page, so that it asks no more, and forgets what it asked and complained of."""
        self.send("Page.navigate", url="about:blank")
        self.run("0")  # what was told meanwhile is noted
        self.requested.clear()
        self.complaints.clear()

    def run(self, script: str) -> Any:
        """The value of an expression in the page, awaited."""
        found = self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["exception"]["description"])
        return found["result"].get("value")

    def wait(self, script: str, seconds: float = 20) -> Any:
        """The value of an expression as soon as it is true."""
        polled = (
            f"(async () => {{ const end = Date.now() + {1000 * seconds}; for (;;) {{"
            f" let found; try {{ found = ({script}); }} catch {{}} if (found) return found;"
            " if (Date.now() > end) return null; await new Promise((go) => setTimeout(go, 15)); }"
            " })()"
        )
        found = self.run(polled)
        assert found, f"not within {seconds} s: {script}; the page complains: {self.complaints}"
        return found

    @contextmanager
    def inside(self) -> Iterator[None]:
        """What is run meanwhile is run in the frame within the page, once there is one."""
        whole, end = self._session, time.monotonic() + 20
        while True:
            targets = self.send("Target.getTargets")["targetInfos"]
            frames = [one["targetId"] for one in targets if one["type"] == "iframe"]
            if frames or time.monotonic() > end:
                break
            time.sleep(0.05)
        [frame] = frames
        attached = self.send("Target.attachToTarget", targetId=frame, flatten=True)
        self._session = attached["sessionId"]
        try:
            for domain in ("Runtime", "Log"):
                self.send(f"{domain}.enable")
            yield
        finally:
            self._session = whole

    def press(self, key: str, times: int = 1, shift: bool = False) -> None:
        """A key, by the name that pages know it by."""
        for _ in range(times):
            text = {"text": key} if len(key) == 1 else {}
            common = {"key": key, "modifiers": 8 if shift else 0}
            if key == "Tab":
                common |= {"windowsVirtualKeyCode": 9, "code": "Tab"}
            self.send("Input.dispatchKeyEvent", type="keyDown", **common, **text)
            self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """A mouse event: "Moved", "Pressed", "Released" or "Wheel"."""
        self.send("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, **more)

    def picture(self) -> bytes:
        """The page as a PNG file."""
        return base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])
