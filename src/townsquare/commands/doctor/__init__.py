"""What `townsquare doctor` looks at: this machine, the database, the servers that are configured beside it."""
