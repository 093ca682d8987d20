"""The report's charts, one file each: plain figures in, inline SVG out."""
