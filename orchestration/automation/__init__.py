"""Jobs, schedules and sensors: when things run."""
