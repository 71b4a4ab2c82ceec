"""The same job, as the users of each library would write it well. One module is one process."""
