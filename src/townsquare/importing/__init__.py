"""Readers of what people bring along from elsewhere. They read only; who keeps what was read is not their affair."""
