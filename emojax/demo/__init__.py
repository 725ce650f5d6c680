"""The demo world: drawn faces whose emotions and action units are known."""
