"""MLflow: its store, how runs are recorded there, and how they are read back."""
