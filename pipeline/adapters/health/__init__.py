"""What `doctor` looks at: each module yields findings about one thing."""
