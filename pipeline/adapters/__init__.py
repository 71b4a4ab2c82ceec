"""Reading, writing, fetching and tracking."""
