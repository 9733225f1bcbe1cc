//! The way that a dialog's requests take (RFC 3261 §12.1, §12.2.1.1, §16.12.1.1).

use wakeline_sip_message::{Message, NameAddr, OwnedUri, ParseError, Uri};

/// The proxies that asked to stay on the path, in the order in which our requests meet them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RouteSet(Vec<String>);

impl RouteSet {
    /// From the response to a request of ours: Record-Route reversed (§12.1.2).
    pub fn of_response(response: &Message) -> Result<RouteSet, ParseError> {
        let mut routes = RouteSet::of_request(response)?;
        routes.0.reverse();
        Ok(routes)
    }

    /// From a request of the peer: Record-Route as it stands (§12.1.1).
    pub fn of_request(request: &Message) -> Result<RouteSet, ParseError> {
        request.record_routes().map(|route| Ok(written(&route?))).collect::<Result<_, _>>().map(RouteSet)
    }

    /// A way known beforehand: an outbound proxy or Service-Route. What cannot be read is left out.
    pub fn preloaded(routes: impl IntoIterator<Item = impl AsRef<str>>) -> RouteSet {
        let read = |route: &str| NameAddr::parse(route).ok().map(|route| written(&route));
        RouteSet(routes.into_iter().filter_map(|route| read(route.as_ref())).collect())
    }

    /// The Route values, topmost first.
    pub fn values(&self) -> &[String] {
        &self.0
    }

    /// Request-URI and Route values of a request to `target` (§12.2.1.1): a strict router at the top takes the
    /// Request-URI, and the target goes to the end of the route.
    pub fn apply(&self, target: &str) -> (String, Vec<String>) {
        match self.top() {
            None => (target.into(), Vec::new()),
            Some(top) if top.view().is_loose() => (target.into(), self.0.clone()),
            Some(top) => {
                let mut routes: Vec<String> = self.0.get(1..).unwrap_or(&[]).to_vec();
                routes.push(format!("<{target}>"));
                // §19.1.1: `method` and header parts do not stand in a Request-URI.
                (top.without_param("method").without_headers().as_str().into(), routes)
            }
        }
    }

    /// Where a request to `target` is sent first (§8.1.2): the topmost route, else the target itself.
    pub fn next_hop(&self, target: &str) -> String {
        self.top().map_or_else(|| target.into(), |top| top.as_str().into())
    }

    fn top(&self) -> Option<OwnedUri> {
        let top = self.0.first()?;
        NameAddr::parse(top).ok().map(|route| route.uri().to_owned())
    }
}

/// A route as we write it: always in brackets, its header parameters kept (§16.12.1.1, §20.30).
fn written(route: &NameAddr<'_>) -> String {
    let uri: Uri<'_> = route.uri();
    format!("<{}>{}", uri.as_str(), route.params().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOSE: &str = "<sip:p1.example.org;lr>";
    const STRICT: &str = "<sip:p2.example.org;method=INVITE>";

    #[test]
    fn no_route_sends_to_the_target() {
        let routes = RouteSet::default();
        assert_eq!(routes.apply("sip:bob@b"), ("sip:bob@b".into(), vec![]));
        assert_eq!(routes.next_hop("sip:bob@b"), "sip:bob@b");
    }

    #[test]
    fn a_loose_router_leaves_the_request_uri_alone() {
        let routes = RouteSet::preloaded([LOOSE, STRICT]);
        let (uri, values) = routes.apply("sip:bob@b");
        assert_eq!((uri.as_str(), values.as_slice()), ("sip:bob@b", &[LOOSE.to_string(), STRICT.into()][..]));
        assert_eq!(routes.next_hop("sip:bob@b"), "sip:p1.example.org;lr");
    }

    #[test]
    fn a_strict_router_takes_the_request_uri() {
        let routes = RouteSet::preloaded([STRICT, LOOSE]);
        let (uri, values) = routes.apply("sip:bob@b");
        assert_eq!(uri, "sip:p2.example.org");
        assert_eq!(values, [LOOSE.to_string(), "<sip:bob@b>".into()]);
        assert_eq!(routes.next_hop("sip:bob@b"), "sip:p2.example.org;method=INVITE");
    }
}
