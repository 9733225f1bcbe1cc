//! The order of SRV records (RFC 2782) and of address families (RFC 8305 §4).

use core::net::IpAddr;

use wakeline_entropy::Entropy;

/// One SRV record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Service {
    pub(crate) priority: u16,
    pub(crate) weight: u16,
    pub(crate) port: u16,
    pub(crate) target: String,
}

/// By priority; within one, drawn by weight.
pub(crate) fn ordered(mut services: Vec<Service>, entropy: &mut Entropy) -> Vec<Service> {
    services.sort_by_key(|service| (service.priority, service.weight));
    let mut order = Vec::with_capacity(services.len());
    while let Some(priority) = services.first().map(|service| service.priority) {
        let group = services.iter().take_while(|service| service.priority == priority);
        let total: u32 = group.clone().map(|service| u32::from(service.weight)).sum();
        // A number from 0 to the sum, both included; records of weight 0 stand first and win only at 0.
        let mut draw = entropy.below(total + 1);
        let mut chosen = 0;
        for (place, service) in group.enumerate() {
            chosen = place;
            match draw.checked_sub(u32::from(service.weight)) {
                None | Some(0) => break,
                Some(rest) => draw = rest,
            }
        }
        order.push(services.remove(chosen));
    }
    order
}

/// IPv6 and IPv4 in turn, IPv6 first: so a family that is broken costs one attempt (fault F15).
pub(crate) fn interleaved(v6: &[IpAddr], v4: &[IpAddr]) -> Vec<IpAddr> {
    let longest = v6.len().max(v4.len());
    (0..longest).flat_map(|place| [v6.get(place), v4.get(place)]).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(priority: u16, weight: u16, port: u16) -> Service {
        Service { priority, weight, port, target: "a.example".into() }
    }

    #[test]
    fn priority_rules_and_weight_draws() {
        let services = vec![service(20, 0, 3), service(10, 30, 1), service(10, 70, 2)];
        let mut first = [0; 3];
        let mut entropy = Entropy::from_number(5);
        for _ in 0..1000 {
            let ports: Vec<u16> =
                ordered(services.clone(), &mut entropy).iter().map(|service| service.port).collect();
            assert_eq!((ports.len(), ports[2]), (3, 3));
            first[usize::from(ports[0]) - 1] += 1;
        }
        assert!((200..400).contains(&first[0]) && (600..800).contains(&first[1]), "{first:?}");
    }

    #[test]
    fn families_take_turns() {
        let v6: Vec<IpAddr> = vec!["::1".parse().unwrap(), "::2".parse().unwrap()];
        let v4: Vec<IpAddr> = vec!["10.0.0.1".parse().unwrap()];
        assert_eq!(interleaved(&v6, &v4), [v6[0], v4[0], v6[1]]);
    }
}
