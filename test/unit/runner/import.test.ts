// It throws while it is loaded.

throw new URIError("not today");
