//! The keep-alive of UDP flows: a STUN binding request and its answer (RFC 5626 §3.5.2, RFC 8489).

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

const COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];

/// Whether a datagram is STUN and not SIP: the two top bits of SIP's first letter are never both zero.
pub(crate) fn is_stun(datagram: &[u8]) -> bool {
    datagram.len() >= 20 && datagram[0] & 0xC0 == 0 && datagram[4..8] == COOKIE
}

/// The success response with XOR-MAPPED-ADDRESS; `None` for anything but a bare binding request.
pub(crate) fn answer(request: &[u8], from: SocketAddr) -> Option<Bytes> {
    if !is_stun(request) || request[..2] != [0x00, 0x01] {
        return None;
    }
    let mut value = vec![0_u8];
    let port = from.port() ^ 0x2112;
    match from.ip().to_canonical() {
        IpAddr::V4(address) => {
            value.push(1);
            value.extend(port.to_be_bytes());
            value.extend(address.octets().iter().zip(&COOKIE).map(|(byte, mask)| byte ^ mask));
        }
        IpAddr::V6(address) => {
            value.push(2);
            value.extend(port.to_be_bytes());
            value.extend(address.octets().iter().zip(&request[4..20]).map(|(byte, mask)| byte ^ mask));
        }
    }
    let length = value.len() as u8;
    let mut response = vec![0x01, 0x01, 0, length + 4];
    response.extend_from_slice(&request[4..20]);
    response.extend([0x00, 0x20, 0, length]);
    response.extend(value);
    Some(Bytes::from(response))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_request_is_told_where_it_came_from() {
        let mut request = vec![0, 1, 0, 0];
        request.extend(COOKIE);
        request.extend([7; 12]);
        let response = answer(&request, "192.0.2.1:32853".parse().unwrap()).unwrap();
        assert_eq!(&response[..4], [1, 1, 0, 12]);
        assert_eq!(&response[4..20], &request[4..20]);
        // The worked example of RFC 5769 §2.2: port 32853 and 192.0.2.1 under the cookie.
        assert_eq!(&response[20..], [0, 0x20, 0, 8, 0, 1, 0xA1, 0x47, 0xE1, 0x12, 0xA6, 0x43]);
        let six = answer(&request, "[2001:db8::1]:5060".parse().unwrap()).unwrap();
        assert_eq!(six.len(), 44);
        assert!(answer(b"REGISTER sip:a SIP/2.0\r\n\r\n", "192.0.2.1:1".parse().unwrap()).is_none());
        request[1] = 0x11;
        assert!(answer(&request, "192.0.2.1:1".parse().unwrap()).is_none(), "an indication wants no answer");
    }
}
