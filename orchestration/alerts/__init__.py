"""Alerts: what a person has to know, each event once per channel."""
