"""What every service stands on: see README.md in this folder for the one way to do each common thing."""
