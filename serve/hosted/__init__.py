"""Models that others run, as stand-ins for one's own. Nothing here is used unless a stack file says so."""
