"""Posts and what people do with them: the service `content`."""
