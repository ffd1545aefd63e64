"""The gateway: one address for all services, hosted in this process or on ports of their own."""
