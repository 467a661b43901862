"""The viewer: attention as maps that are zoomed, in a page that is served from here."""
