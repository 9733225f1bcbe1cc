//! Every webphone parameter: schema, reading, precedence of sources, links.
