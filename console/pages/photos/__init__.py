"""Try it: photographs through the workflow, its states as they light up, the answer."""
