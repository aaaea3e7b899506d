"""Alarms beyond one metric: rules over the states of other alarms, and what has become of an alarm."""
