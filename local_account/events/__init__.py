"""Amazon EventBridge and its Scheduler: patterns, delivery to targets, schedules."""
