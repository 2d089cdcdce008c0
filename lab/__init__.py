"""The app shell: navigation, charts and components; no mathematics."""
