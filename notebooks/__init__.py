"""The tutorial, and what makes a page of it."""
