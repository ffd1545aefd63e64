"""The services. No service imports another; what they need of each other travels as events or by HTTP."""
