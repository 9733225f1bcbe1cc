//! Stand-ins for the vendors' push services: the same protocol on loopback, with scripted faults.
