"""A believable community of people who do not exist: made of a few words and a seed, told through the services' own code."""

from townsquare.demo.community import DemoReport, Progress, fill, fill_if_empty, remove

__all__ = ["DemoReport", "Progress", "fill", "fill_if_empty", "remove"]
