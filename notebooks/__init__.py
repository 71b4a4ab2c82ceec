"""The tutorial's notebook, and the code that turns it into a page."""
