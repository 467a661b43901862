import matplotlib
import pytest
from matplotlib import font_manager

from qkv.pictures import fonts


@pytest.fixture
def only_bundled_fonts(monkeypatch):
    """As on a machine without fonts: matplotlib's own are left, its font of boxes among them."""
    bundled = matplotlib.get_data_path()
    entries = [e for e in font_manager.fontManager.ttflist if e.fname.startswith(bundled)]
    assert any("Last Resort" in entry.name for entry in entries)
    monkeypatch.setattr(font_manager.fontManager, "ttflist", entries)
    monkeypatch.setattr(fonts, "_add_new_fonts", lambda: None)
