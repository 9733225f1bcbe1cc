//! A provider's links, and its answers to a phone that follows one.

use wakeline_clock::WallTime;
use wakeline_settings::provisioning::{
    Agreement, Answer, Grant, HttpsAddress, Link, Provisioning, Told, Verdict, Wish,
};
use wakeline_settings::{Settings, parameter};

const CODE: &str = "77777777777777777777777777";
const NOW: WallTime = WallTime(1_000_000_000);

/// The first line is a link; the others are answers, in order, to a phone whose person agrees to everything and whose
/// signatures are all good: what is refused then, the machine itself has refused.
pub(crate) fn provisioning(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (link, answers) = text.split_once('\n').unwrap_or((&text, ""));
    let home = HttpsAddress::parse("https://voice.example.org").expect("an address");
    for provider in [None, Some(&home)] {
        if let Ok(link) = Link::parse(link, provider) {
            let host = link.host();
            assert!(
                host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte)),
                "{host:?}"
            );
            assert!(!link_shows_its_code(&link), "S23");
        }
    }
    let link = Link::parse(&format!("https://voice.example.org/p/{CODE}"), None).expect("a link");
    let mut run = Provisioning::open(link, "k".repeat(32).into());
    let granted = follow(&mut run, &mut answers.lines());
    if let Some(grant) = granted {
        let again = Grant::read(&grant.record()).expect("a record reads back");
        assert_eq!(again, grant);
        let mut settings = Settings::new();
        grant.apply(&mut settings);
        for (name, _, _) in settings.iter() {
            assert!(parameter(name).is_some_and(|known| !known.is_local()), "a provider has set {name}");
        }
        // The same answers again, to a phone that has them: nothing goes back to an older serial.
        let mut run = Provisioning::renew(grant.clone());
        if let Some(newer) = follow(&mut run, &mut answers.lines().skip(1)) {
            assert!(newer.serial() >= grant.serial() && newer.id() == grant.id());
        }
    }
}

fn link_shows_its_code(link: &Link) -> bool {
    format!("{link:?}").contains(CODE)
}

fn follow<'a>(run: &mut Provisioning, answers: &mut impl Iterator<Item = &'a str>) -> Option<Grant> {
    for _ in 0..32 {
        if let Some(wish) = run.poll_wish() {
            match wish {
                Wish::Fetch(request) => {
                    assert_eq!(request.address.host(), "voice.example.org", "it goes nowhere else");
                    let line = answers.next()?;
                    let (status, body) = line.split_once(' ').unwrap_or(("200", line));
                    let status = status.parse().unwrap_or(200);
                    run.handle_answer(Ok(Answer { status, body: body.into() }));
                }
                Wish::Check(_) => run.handle_verdict(NOW, Verdict::Good),
            }
        } else if let Some(told) = run.poll_told() {
            match told {
                Told::Ask(consent) => {
                    let shown = format!("{consent:?}");
                    assert!(!shown.chars().any(char::is_control), "S7: {shown:?}");
                    run.handle_agreement(Agreement::Given);
                }
                Told::Granted(grant) => return Some(*grant),
                Told::Failed(error) => {
                    let shown = error.to_string();
                    assert!(
                        !shown.chars().any(char::is_control) && !error.cure().is_empty(),
                        "S7: {shown:?}"
                    );
                    return None;
                }
                Told::Same | Told::Withdrawn => return None,
            }
        } else {
            assert!(run.is_over(), "it waits for nothing");
            return None;
        }
    }
    panic!("it never ends");
}
