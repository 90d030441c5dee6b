"""A real browser, looked at from outside."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .commands import until

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
SIZE = {"width": 1400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
PATIENCE = 60.0


@contextmanager
def browsing() -> Iterator["Browser"]:
    """A headless Chromium with a fresh profile; skips the test where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not chromedriver:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        service = webdriver.ChromeService(chromedriver)
        driver = webdriver.Chrome(options, service)
        try:
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", SIZE)
            yield Browser(driver)
        finally:
            driver.quit()


class Browser:
    """A page and what can be done on it; everything waits until it is there."""

    def __init__(self, driver: Any):
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    def text(self) -> str:
        return str(self.driver.execute_script("return document.body.innerText"))

    def has_text(self, wanted: str) -> None:
        until(lambda: wanted in self.text(), f"{wanted!r} on the page", PATIENCE)

    def all(self, xpath: str) -> list[Any]:
        return list(self.driver.find_elements("xpath", xpath))

    def find(self, xpath: str) -> Any:
        """The first element that fits."""
        return until(lambda: self.all(xpath), xpath, PATIENCE)[0]

    def click(self, xpath: str) -> None:
        """Click on an element, again while the page is being drawn anew."""
        from selenium.common.exceptions import WebDriverException

        def clicked() -> bool:
            try:
                self.find(xpath).click()
            except WebDriverException:
                return False
            return True

        until(clicked, f"a click on {xpath}", PATIENCE)

    def drag(self, xpath: str, right: int) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        handle = self.find(xpath)
        ActionChains(self.driver).drag_and_drop_by_offset(handle, right, 0).perform()

    def picture(self, file: Path) -> None:
        self.driver.save_screenshot(str(file))
