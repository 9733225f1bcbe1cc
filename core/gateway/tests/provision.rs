//! Provisioning at a gateway at work: links, pages, the exchange, news at the next REGISTER, and what a guesser sees.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod phone;
mod redis;

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use phone::{Phone, soon};
use redis::{Folder, Redis};
use reqwest::{Method, Response, StatusCode};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};
use wakeline_flow::Transport;
use wakeline_gateway::config::{Account, Config};
use wakeline_gateway::{Gateway, Handle};
use wakeline_settings::{Settings, Source};

const TOKEN: &str = "operator-0123456789";
const SCHEMA: &str = include_str!("../src/provision/settings.schema.json");

/// A gateway with a store, and a client that believes its certificate.
struct Site {
    gateway: Handle,
    client: reqwest::Client,
    folder: Folder,
}

fn config(folder: &std::path::Path, more: &str) -> Config {
    let text = format!(
        "[store]\npath = \"{}\"\n[provision]\nlisten = [\"127.0.0.1:0\"]\npublic_url = \"https://voice.example.org\"\n\
         token = \"{TOKEN}\"\nname = \"Acme\"\n{more}",
        folder.join("gateway.db").display()
    );
    let mut config = Config::from_toml(&text).unwrap().on_any_port();
    let account = Account { user: "mia".to_owned(), password: "open sesame".into(), ..Account::default() };
    config.account.push(account);
    config
}

impl Site {
    fn start(more: &str) -> Site {
        let folder = Folder::new("provision");
        let gateway = Gateway::start(config(&folder.0, more)).unwrap();
        let client = client(&gateway);
        Site { gateway, client, folder }
    }

    /// A node of a gateway whose store is on a server.
    fn node(name: &str, server: &Redis) -> Site {
        let folder = Folder::new("provision");
        let mut config = config(&folder.0, "[limits]\n");
        config.store.url = format!("redis+unix://{}", server.socket.display()).into();
        config.cluster.node = name.to_owned();
        config.cluster.address = "127.0.0.1".to_owned();
        config.provision.attempts_per_minute = 100_000;
        let gateway = Gateway::start(config).unwrap();
        let client = client(&gateway);
        Site { gateway, client, folder }
    }

    /// The grants as this node sees them: how far each is, by its name.
    async fn stages(&self) -> Vec<(String, String)> {
        let (_, all) = self.operator(Method::GET, "/provision", None).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        all.as_array().unwrap().iter().map(|one| (text(&one["id"]), text(&one["stage"]))).collect()
    }

    async fn sees(&self, id: &Value, stage: &str) {
        let wanted = (id.as_str().unwrap().to_owned(), stage.to_owned());
        soon("news of a grant", async {
            while !self.stages().await.contains(&wanted) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    fn address(&self) -> SocketAddr {
        self.gateway.provision()[0]
    }

    async fn ask(&self, method: Method, path: &str, token: Option<&str>, body: Option<Value>) -> Response {
        let mut request = self.client.request(method, format!("https://{}{path}", self.address()));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.unwrap()
    }

    async fn operator(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let answer = self.ask(method, path, Some(TOKEN), body).await;
        let status = answer.status();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or(Value::Null))
    }

    async fn get(&self, path: &str, agent: &str) -> (StatusCode, String, String) {
        let request =
            self.client.get(format!("https://{}{path}", self.address())).header("user-agent", agent);
        let answer = request.send().await.unwrap();
        let kind = answer.headers().get("content-type").map_or("", |kind| kind.to_str().unwrap()).to_owned();
        (answer.status(), kind, answer.text().await.unwrap())
    }

    async fn exchange(&self, code: &str, key: &str) -> (StatusCode, String) {
        let body = json!({ "code": code, "device_key": key, "consent": true });
        let answer = self.ask(Method::POST, "/provision/exchange", None, Some(body)).await;
        (answer.status(), answer.text().await.unwrap())
    }

    async fn fetch(&self, id: &str, key: &str, serial: u64) -> (StatusCode, String) {
        let body = json!({ "id": id, "device_key": key, "serial": serial });
        let answer = self.ask(Method::POST, "/provision/settings", None, Some(body)).await;
        (answer.status(), answer.text().await.unwrap())
    }

    /// What a phone does with a signed object: the key by its id from the published set, the signature, the schema.
    async fn verified(&self, object: &str) -> Value {
        let (_, _, keys) = self.get("/.well-known/jwks.json", "").await;
        let keys: Value = serde_json::from_str(&keys).unwrap();
        let [head, payload, signature] = object.split('.').collect::<Vec<_>>()[..] else {
            panic!("{object}")
        };
        let part = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        let header: Value = serde_json::from_slice(&part(head)).unwrap();
        assert_eq!((&header["alg"], &header["typ"]), (&json!("EdDSA"), &json!("wakeline-settings+jws")));
        let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]).unwrap();
        let public = part(key["x"].as_str().unwrap());
        let signed = format!("{head}.{payload}");
        UnparsedPublicKey::new(&ED25519, public).verify(signed.as_bytes(), &part(signature)).unwrap();
        let payload: Value = serde_json::from_slice(&part(payload)).unwrap();
        conforms(&payload, &serde_json::from_str(SCHEMA).unwrap(), "payload");
        payload
    }
}

fn client(gateway: &Handle) -> reqwest::Client {
    let tls = phone::tls(gateway);
    reqwest::Client::builder().tls_backend_preconfigured((*tls).clone()).no_proxy().build().unwrap()
}

/// The part of JSON Schema that ours uses; a keyword that is not known here fails, so that nothing goes unchecked.
fn conforms(value: &Value, schema: &Value, at: &str) {
    for (keyword, rule) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "$schema" | "$id" | "title" | "description" => {}
            "type" => {
                let fits = match rule.as_str().unwrap() {
                    "object" => value.is_object(),
                    "string" => value.is_string(),
                    "integer" => value.is_i64() || value.is_u64(),
                    other => panic!("{other}"),
                };
                assert!(fits, "{at} is no {rule}: {value}");
            }
            "minimum" => assert!(value.as_i64() >= rule.as_i64(), "{at}: {value}"),
            "maxLength" => assert!(value.as_str().unwrap().len() <= rule.as_u64().unwrap() as usize, "{at}"),
            "pattern" => {
                let text = value.as_str().unwrap();
                let fits = match rule.as_str().unwrap() {
                    "^https://" => text.starts_with("https://"),
                    "^[A-Za-z0-9_-]+$" => {
                        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
                    }
                    other => panic!("{other}"),
                };
                assert!(fits, "{at}: {text}");
            }
            "required" => {
                for name in rule.as_array().unwrap() {
                    assert!(value.get(name.as_str().unwrap()).is_some(), "{at} lacks {name}");
                }
            }
            "properties" => {
                for (name, inner) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        conforms(value, inner, name);
                    }
                }
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Value::as_object);
                for (name, value) in value.as_object().unwrap() {
                    match (known.is_some_and(|known| known.contains_key(name)), rule) {
                        (true, _) => {}
                        (false, Value::Bool(false)) => panic!("{at} has {name}"),
                        (false, rule) => conforms(value, rule, name),
                    }
                }
            }
            other => panic!("the schema's {other} is not checked"),
        }
    }
}

fn key(name: &str) -> String {
    format!("{name}-{}", "k".repeat(32))
}

fn wish() -> Value {
    json!({
        "label": "Mia's phone",
        "parameters": { "serveraddress": "localhost", "username": "mia", "password": "open sesame", "transport": 2 },
    })
}

#[tokio::test]
async fn from_the_operators_wish_to_a_phone_that_registers_with_what_it_was_given() {
    let site = Site::start("");
    let (status, link) = site.operator(Method::POST, "/provision", Some(wish())).await;
    assert_eq!(status, StatusCode::CREATED, "{link}");
    let code = link["code"].as_str().unwrap();
    assert_eq!(link["link"], format!("https://voice.example.org/p/{code}"));
    assert!(link["svg"].as_str().unwrap().starts_with("<svg"));
    let (status, _, page) = site.get(&format!("/p/{code}/qr"), "").await;
    assert!(status == StatusCode::OK && page.contains("<svg") && page.contains(code), "{page}");

    // Without the person's yes nothing goes out, and the code stays good.
    let body = json!({ "code": code, "device_key": key("mia") });
    let answer = site.ask(Method::POST, "/provision/exchange", None, Some(body)).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);

    // What the code would set is shown without its secrets, and the code stays good.
    let answer = site.ask(Method::POST, "/provision/preview", None, Some(json!({ "code": code }))).await;
    let shown: Value = answer.json().await.unwrap();
    assert_eq!((&shown["name"], &shown["parameters"]["username"]), (&json!("Acme"), &json!("mia")));
    assert_eq!(shown["parameters"]["password"], Value::Null);

    let (status, object) = site.exchange(code, &key("mia")).await;
    assert_eq!(status, StatusCode::OK, "{object}");
    let answer = site.ask(Method::POST, "/provision/preview", None, Some(json!({ "code": code }))).await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    let payload = site.verified(&object).await;
    assert_eq!((&payload["iss"], &payload["name"]), (&json!("https://voice.example.org"), &json!("Acme")));
    assert_eq!(payload["sub"], link["id"]);
    assert!(payload["exp"].as_u64() > payload["iat"].as_u64());

    // The parameters are those that the settings crate reads, and the gateway takes the phone.
    let mut settings = Settings::new();
    settings.read_json(&payload["parameters"].to_string(), Source::Server).unwrap();
    assert_eq!(settings.diagnoses(), []);
    let user = settings.text("username").unwrap().to_owned();
    let password = settings.text("password").unwrap().to_owned();
    let mut mia = Phone::connect(&site.gateway, Transport::Tcp, &user, &password).await;
    let (ok, _) = mia.register(600).await;
    assert_eq!(ok.header_by_name("X-Settings"), None);

    // Once means once; only the same phone may repeat itself.
    assert_eq!(site.exchange(code, &key("eve")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(site.exchange(code, &key("mia")).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_change_and_a_withdrawal_are_told_at_the_next_register() {
    let site = Site::start("");
    let (_, link) = site.operator(Method::POST, "/provision", Some(wish())).await;
    let (id, code) = (link["id"].as_str().unwrap(), link["code"].as_str().unwrap());
    assert_eq!(site.exchange(code, &key("mia")).await.0, StatusCode::OK);
    assert_eq!(site.fetch(id, &key("mia"), 1).await.0, StatusCode::NO_CONTENT);

    let mut changed = wish();
    changed["parameters"]["displayname"] = json!("Mia M.");
    let (status, view) = site.operator(Method::PUT, &format!("/provision/{id}"), Some(changed)).await;
    assert_eq!((status, &view["serial"]), (StatusCode::OK, &json!(2)), "{view}");
    let mut mia = Phone::connect(&site.gateway, Transport::Tcp, "mia", "open sesame").await;
    let (ok, _) = mia.register(600).await;
    assert_eq!(ok.header_by_name("X-Settings"), Some(format!("{id}=2").as_str()));
    let (status, object) = site.fetch(id, &key("mia"), 1).await;
    assert_eq!(status, StatusCode::OK);
    let payload = site.verified(&object).await;
    assert_eq!((&payload["serial"], &payload["parameters"]["displayname"]), (&json!(2), &json!("Mia M.")));
    let (ok, _) = mia.register(600).await;
    assert_eq!(ok.header_by_name("X-Settings"), None);

    assert_eq!(
        site.operator(Method::DELETE, &format!("/provision/{id}"), None).await.0,
        StatusCode::NO_CONTENT
    );
    let (ok, _) = mia.register(600).await;
    assert_eq!(ok.header_by_name("X-Settings"), Some(format!("{id}=revoked").as_str()));
    assert_eq!(site.fetch(id, &key("mia"), 2).await.0, StatusCode::GONE);
    assert_eq!(site.fetch(id, &key("eve"), 2).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn f18_links_keys_and_news_outlive_a_restart_and_passwords_do_not_stay() {
    let mut site = Site::start("");
    let (_, first) = site.operator(Method::POST, "/provision", Some(wish())).await;
    let (_, second) = site.operator(Method::POST, "/provision", Some(wish())).await;
    let (_, object) = site.exchange(first["code"].as_str().unwrap(), &key("mia")).await;
    let id = first["id"].as_str().unwrap().to_owned();
    site.operator(Method::DELETE, &format!("/provision/{id}"), None).await;
    assert!(site.gateway.flush(phone::PATIENCE));

    let folder = site.folder.0.clone();
    let again =
        tokio::task::spawn_blocking(move || Gateway::start(config(&folder, ""))).await.unwrap().unwrap();
    std::mem::replace(&mut site.gateway, again).shutdown();
    site.client = client(&site.gateway);
    // The same key, or one that was published before.
    site.verified(&object).await;
    let mut mia = Phone::connect(&site.gateway, Transport::Tcp, "mia", "open sesame").await;
    let (ok, _) = mia.register(600).await;
    assert_eq!(ok.header_by_name("X-Settings"), Some(format!("{id}=revoked").as_str()));
    assert_eq!(site.exchange(first["code"].as_str().unwrap(), &key("mia")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(site.exchange(second["code"].as_str().unwrap(), &key("mia")).await.0, StatusCode::OK);

    // A new key signs from now on, and what the former has signed can still be checked.
    let (status, keys) = site.operator(Method::POST, "/provision/keys", None).await;
    assert_eq!((status, keys["keys"].as_array().unwrap().len()), (StatusCode::OK, 2));
    site.verified(&object).await;

    // No code and no phone's key stands in the store, and nothing of a grant that was withdrawn.
    assert!(site.gateway.flush(phone::PATIENCE));
    let (_, grants) = site.operator(Method::GET, "/provision", None).await;
    assert!(!grants.to_string().contains("open sesame"));
    let mut bytes = std::fs::read(site.folder.0.join("gateway.db")).unwrap();
    bytes.extend(std::fs::read(site.folder.0.join("gateway.db-wal")).unwrap_or_default());
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds(&id) && !holds(second["code"].as_str().unwrap()) && !holds(&key("mia")));
}

#[tokio::test]
async fn s16_a_guesser_learns_nothing_and_is_stopped() {
    let site = Site::start("attempts_per_minute = 6\n");
    let (_, used) = site.operator(Method::POST, "/provision", Some(wish())).await;
    let (_, withdrawn) = site.operator(Method::POST, "/provision", Some(wish())).await;
    let (_, open) = site.operator(Method::POST, "/provision", Some(wish())).await;
    let code = |link: &Value| link["code"].as_str().unwrap().to_owned();
    site.exchange(&code(&used), &key("mia")).await;
    site.operator(Method::DELETE, &format!("/provision/{}", withdrawn["id"].as_str().unwrap()), None).await;
    // The page is the same for every code: it looks none up.
    let page = |text: String, code: &str| text.replace(code, "CODE");
    let (_, _, good) = site.get(&format!("/p/{}", code(&open)), "Android").await;
    let none = "7".repeat(26);
    let (_, _, bad) = site.get(&format!("/p/{none}"), "Android").await;
    let dashed = |code: &str| {
        let groups: Vec<&str> =
            [0, 5, 10, 15, 20, 25].iter().map(|at| &code[*at..(at + 5).min(26)]).collect();
        groups.join("-")
    };
    let (good, bad) = (page(good, &code(&open)), page(bad, &none));
    assert_eq!(good.replace(&dashed(&code(&open)), "DASHED"), bad.replace(&dashed(&none), "DASHED"));
    // So is the refusal, whatever is wrong.
    let mut told = Vec::new();
    for wrong in [code(&used), code(&withdrawn), none.clone(), "not a code".to_owned()] {
        told.push(site.exchange(&wrong, &key("eve")).await);
    }
    told.push(site.exchange(&code(&open), "short").await);
    told.push(site.fetch(used["id"].as_str().unwrap(), &key("eve"), 0).await);
    assert!(told.iter().all(|one| *one == told[0] && one.0 == StatusCode::NOT_FOUND), "{told:?}");
    // Six were wrong: now even a right one does not count, nor does the operator's token.
    assert_eq!(site.exchange(&code(&open), &key("mia")).await.0, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        site.ask(Method::GET, "/provision", Some(TOKEN), None).await.status(),
        StatusCode::TOO_MANY_REQUESTS
    );
}

#[tokio::test]
async fn s23_only_the_operator_makes_links_and_wrong_parameters_are_named() {
    let site = Site::start("");
    for token in [None, Some("operator-012345678"), Some("")] {
        let answer = site.ask(Method::POST, "/provision", token, Some(wish())).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    }
    let wrong = json!({ "parameters": { "serveradress": "x", "transport": "99", "password": "hunter2\n" } });
    let (status, errors) = site.operator(Method::POST, "/provision", Some(wrong)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let errors = errors["errors"].to_string();
    for told in
        ["did you mean serveraddress", "transport", "control character", "serveraddress: it is missing"]
    {
        assert!(errors.contains(told), "{told}: {errors}");
    }
    assert!(!errors.contains("hunter2"));
    let (_, list) = site.operator(Method::GET, "/provision", None).await;
    assert_eq!(list, json!([]));
}

#[tokio::test]
async fn the_systems_files_the_open_lists_and_the_pages() {
    let print = ["AB"; 32].join(":");
    let site = Site::start(&format!(
        "web_phone = \"https://voice.example.org/phone/\"\n\
         [provision.android]\npackage = \"org.example.voice\"\nfingerprints = [\"{print}\"]\n\
         [provision.ios]\napp_ids = [\"AB12CD34EF.org.example.voice\"]\nstore = \"https://apps.apple.com/app/id123456789\"\n\
         [provision.parameters]\ncodec = \"opus,pcmu\"\ntransport = \"2\"\n[provision.operator.4711]\nserveraddress = \"a.example\"\n"
    ));
    let (status, kind, text) = site.get("/.well-known/assetlinks.json", "").await;
    assert_eq!((status, kind.as_str()), (StatusCode::OK, "application/json"));
    let links: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(links[0]["target"]["package_name"], "org.example.voice");
    let (status, kind, text) = site.get("/.well-known/apple-app-site-association", "").await;
    assert_eq!((status, kind.as_str()), (StatusCode::OK, "application/json"));
    assert!(text.contains("AB12CD34EF.org.example.voice"));
    let (_, kind, _) = site.get("/settings.schema.json", "").await;
    assert_eq!(kind, "application/schema+json");

    // B-044: pairs with commas between, as the settings crate reads them.
    let (_, _, list) = site.get("/setparameters", "").await;
    let mut settings = Settings::new();
    settings.read_list(&list, ',', Source::Server);
    assert_eq!((settings.number("transport"), settings.diagnoses().len()), (Some(2), 0), "{list}");
    assert_eq!(settings.text("codec"), Some("opus,pcmu"));
    // B-046: an operator code is a settings file.
    let (_, _, file) = site.get("/opcode/4711", "").await;
    let mut settings = Settings::new();
    settings.read_file(&file, Source::Server).unwrap();
    assert_eq!(settings.text("serveraddress"), Some("a.example"));
    assert_eq!(site.get("/opcode/4712", "").await.0, StatusCode::NOT_FOUND);

    let code = "7".repeat(26);
    let (_, _, page) = site.get(&format!("/p/{code}"), "Mozilla/5.0 (Linux; Android 16)").await;
    assert!(
        page.contains("intent://voice.example.org/p/7777") && page.contains("referrer%3Dprov%253D777"),
        "{page}"
    );
    let (_, _, page) = site.get(&format!("/p/{code}"), "Mozilla/5.0 (iPhone; CPU iPhone OS 26_0)").await;
    assert!(page.contains("app-id=123456789"), "{page}");
    let (_, _, page) = site.get(&format!("/p/{code}"), "Mozilla/5.0 (X11; Linux x86_64)").await;
    assert!(page.contains(&format!("https://voice.example.org/phone/#prov={code}")), "{page}");
}

#[tokio::test]
async fn s19_of_two_nodes_one_gives_the_settings_out_and_both_know_it() {
    let ground = Folder::new("provision-redis");
    let mut server = Redis::start(&ground.0);
    let (one, two) = (Site::node("one", &server), Site::node("two", &server));
    for round in 0..50 {
        let maker = if round % 2 == 0 { &one } else { &two };
        let (status, link) = maker.operator(Method::POST, "/provision", Some(wish())).await;
        assert_eq!(status, StatusCode::CREATED, "{link}");
        for site in [&one, &two] {
            site.sees(&link["id"], "offered").await;
        }
        let code = link["code"].as_str().unwrap();
        let (first, second) = (key("first"), key("second"));
        let (at_one, at_two) = tokio::join!(one.exchange(code, &first), two.exchange(code, &second));
        let (winner, object) = match (at_one.0, at_two.0) {
            (StatusCode::OK, StatusCode::NOT_FOUND) => (&first, at_one.1),
            (StatusCode::NOT_FOUND, StatusCode::OK) => (&second, at_two.1),
            both => panic!("round {round}: {both:?}"),
        };
        if round > 0 {
            continue;
        }
        // Signed by the one key that both publish; fetched, changed and withdrawn at either.
        let (id, serial) = (link["id"].as_str().unwrap(), 1);
        for site in [&one, &two] {
            assert_eq!(site.verified(&object).await["sub"], link["id"]);
            site.sees(&link["id"], "taken").await;
            assert_eq!(site.fetch(id, winner, serial).await.0, StatusCode::NO_CONTENT);
        }
        assert_eq!(
            two.operator(Method::PUT, &format!("/provision/{id}"), Some(wish())).await.0,
            StatusCode::OK
        );
        assert_eq!(one.fetch(id, winner, serial).await.0, StatusCode::OK);
        assert_eq!(two.fetch(id, winner, 2).await.0, StatusCode::NO_CONTENT);
        let withdrawn = one.operator(Method::DELETE, &format!("/provision/{id}"), None).await;
        assert_eq!(withdrawn.0, StatusCode::NO_CONTENT);
        assert_eq!(two.fetch(id, winner, 2).await.0, StatusCode::GONE);
    }
    // A new key at one node signs at the other, and both publish it.
    assert_eq!(one.operator(Method::POST, "/provision/keys", None).await.0, StatusCode::OK);
    let (_, link) = one.operator(Method::POST, "/provision", Some(wish())).await;
    two.sees(&link["id"], "offered").await;
    let (status, object) = two.exchange(link["code"].as_str().unwrap(), &key("mia")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(one.verified(&object).await["sub"], link["id"]);
    // What another node has changed is news at the REGISTER here.
    let id = link["id"].as_str().unwrap();
    one.operator(Method::PUT, &format!("/provision/{id}"), Some(wish())).await;
    let mut mia = Phone::connect(&two.gateway, Transport::Tls, "mia", "open sesame").await;
    let news = format!("{id}=2");
    soon("news at the REGISTER", async {
        while mia.register(600).await.0.header_by_name("X-Settings").is_none_or(|told| !told.contains(&news))
        {
        }
    })
    .await;
    // No secret went through what nodes tell each other.
    let told = server.told();
    assert!(told.contains("grants:") && !told.contains("open sesame"));
    // Without the server nothing is given out, and no code is used up.
    let (_, link) = one.operator(Method::POST, "/provision", Some(wish())).await;
    two.sees(&link["id"], "offered").await;
    server.end();
    let code = link["code"].as_str().unwrap();
    assert_eq!(two.exchange(code, &key("mia")).await.0, StatusCode::SERVICE_UNAVAILABLE);
    server.start_again(&ground.0);
    assert_eq!(two.exchange(code, &key("mia")).await.0, StatusCode::OK);
}
