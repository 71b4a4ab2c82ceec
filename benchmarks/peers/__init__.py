"""The same job, as a good user of each library would write it. Each module is one process."""
