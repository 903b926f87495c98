"""A switch's whole life with a room, lived once over HTTP by curl and once over gRPC by reflection, with one result."""
