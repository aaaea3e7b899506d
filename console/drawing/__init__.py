"""Charts as SVG: lines over time or over a number, drawn from values, coloured by the style sheet."""
