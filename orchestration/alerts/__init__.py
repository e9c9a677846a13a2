"""Alerts: what a person is told of, each event once per channel."""
