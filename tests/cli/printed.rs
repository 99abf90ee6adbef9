//! `scrub` against honest tools: in what ways they print a secret, what is hidden of it, and what can still be read. The rows of the
//! table in `docs/security.md` are those of this file.

use std::{collections::BTreeSet, path::Path};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

use jobpass_harness::pages::pages;

use crate::harness::{ControlPlane, Job, World};

/// What is seen of a secret at most: its longest part, in characters.
#[derive(Clone, Copy)]
enum Seen {
    Most(usize),
    /// So much of a token, and so much of a value, before which no known text stands.
    Of(usize, usize),
    /// All of it, as the table says: the other side.
    All,
}
use Seen::{All, Most, Of};

/// The row of the table, the command that prints `$SECRET`, and what is seen.
const WAYS: [(&str, &str, Seen); 39] = [
    ("whole, in one write or in several", "echo \"$SECRET\"; (set -x; : \"$SECRET\") 2>&1; env | grep ^SECRET=", Most(3)),
    (
        "whole, in one write or in several",
        "printf '%s' \"$SECRET\" | sed 's/./&\\n/21' | while read -r a; do printf %s \"$a\"; sleep 0; done; echo",
        Most(3),
    ),
    ("across line breaks alone", "echo \"u: $SECRET\" | fold -w 80; echo \"Authorization: $SECRET\" | fold -w 30", Most(3)),
    ("across line breaks alone", "echo \"$SECRET\" | base64; echo \"x $SECRET\" | openssl base64", Most(3)),
    ("in pieces", "echo \"$SECRET\" | fold -w 37 | sed 's/.*/| token | & | yes |/'", Most(3)),
    ("in pieces", "echo \"$SECRET\" | fold -w 25 | sed 's/^/web-1  | /'", Most(3)),
    ("in pieces", "echo \"$SECRET\" | fold -w 40 | cat -n", Most(3)),
    ("in pieces", "echo \"$SECRET\" | fold -w 18 | sed 's/$/ \\\\/'", Most(3)),
    ("in pieces", "echo \"$SECRET\" | fold -w 33 | sed 's/^.*$/\\x1b[32m&\\x1b[0m/'", Most(3)),
    ("in pieces", "echo \"$SECRET\" | fold -w 45 | column -c 60 | sed 's/^/          /'", Most(3)),
    ("in pieces", "echo $(echo \"$SECRET\" | base64)", Most(3)),
    ("in pieces", "echo \"$SECRET\" | base64 | sed 's/^/      /'", Most(3)),
    ("in pieces", "echo \"$SECRET\" | base64 | sed -z 's/\\n/\\\\n/g'; echo", Most(3)),
    ("in pieces", "echo \"$SECRET\" | fold -w 15", All),
    ("base64 of base64", "echo \"data: $(printf %s \"$SECRET\" | base64 -w 0 | base64 -w 0)\"", Most(3)),
    ("base64 of base64", "echo \"token: $SECRET\" | base64 | base64 | sed 's/^/  /'", Most(3)),
    ("base64 of base64", "printf %s \"$SECRET\" | base64 -w 0 | base64 -w 0 | base64 -w 0; echo", All),
    ("hex", "printf %s \"$SECRET\" | xxd -p; printf %s \"$SECRET\" | xxd -p -u | sed 's/^/  /'", Of(3, 7)),
    ("UTF-16", "echo \"token: $SECRET\" | iconv -t utf-16le; echo \"token: $SECRET\" | iconv -t utf-16be; echo", Most(3)),
    (
        "UTF-16",
        "echo \"token: $SECRET\" | iconv -t utf-16le | base64; echo \"x: $SECRET\" | iconv -t utf-16be | base64 -w 0; echo",
        Of(3, 5),
    ),
    ("UTF-16", "echo \"token: $SECRET\" | iconv -t utf-16le | xxd -p", Of(3, 7)),
    ("UTF-16", "echo \"token: $SECRET\" | iconv -t utf-32le | base64", All),
    ("`curl --trace-ascii`", "curl -sk --trace-ascii - -H \"Authorization: Bearer $SECRET\" \"$SERVER/version\"", Of(3, 15)),
    (
        "`curl --trace`, `xxd`, `hexdump -C`, `od -t x1`",
        "curl -sk --trace - -H \"Authorization: Bearer $SECRET\" \"$SERVER/version\"",
        Of(3, 6),
    ),
    ("`curl --trace`, `xxd`, `hexdump -C`, `od -t x1`", "echo \"Authorization: Bearer $SECRET\" | xxd", Of(3, 6)),
    ("`curl --trace`, `xxd`, `hexdump -C`, `od -t x1`", "echo \"token $SECRET\" | xxd -u -c 32 | sed 's/^/web-1  | /'", Of(3, 6)),
    ("`curl --trace`, `xxd`, `hexdump -C`, `od -t x1`", "echo \"Authorization: Bearer $SECRET\" | hexdump -C", Of(3, 5)),
    ("`curl --trace`, `xxd`, `hexdump -C`, `od -t x1`", "echo \"Authorization: Bearer $SECRET\" | od -A x -t x1z", Of(3, 5)),
    ("`curl --trace`, `xxd`, `hexdump -C`, `od -t x1`", "echo \"a $SECRET\" | hexdump; echo \"b: $SECRET\" | od -t x2", Of(3, 7)),
    (
        "`curl --trace`, `xxd`, `hexdump -C`, `od -t x1`",
        "echo \"Authorization: Basic $(printf %s \"u:$SECRET\" | base64 -w 0)\" | hexdump -C",
        Of(5, 11),
    ),
    (
        "`curl --trace`, `xxd`, `hexdump -C`, `od -t x1`",
        "echo \"Authorization: Basic $(printf %s \"u:$SECRET\" | base64 -w 0)\" | xxd",
        Of(5, 11),
    ),
    ("`od -c`", "echo \"Authorization: Bearer $SECRET\" | od -c", Most(7)),
    ("`od -c`", "echo \"Authorization: Basic $(printf %s \"u:$SECRET\" | base64 -w 0)\" | od -c", Most(11)),
    ("other dumps", "echo \"$SECRET\" | od", All),
    ("other dumps", "echo \"$SECRET\" | xxd -i", All),
    ("other dumps", "echo \"$SECRET\" | xxd -b", All),
    ("reversed, one character a line, compressed, encrypted", "echo \"$SECRET\" | rev", All),
    ("reversed, one character a line, compressed, encrypted", "echo \"$SECRET\" | fold -w 1", All),
    ("reversed, one character a line, compressed, encrypted", "echo \"$SECRET\" | gzip -n | base64 -w 0; echo", All),
];

/// Some characters are the same as those of a secret by chance: in what TLS sends, or in the claims. The unit tests of the scrubber
/// know their texts, and are exact.
const CHANCE: usize = 6;

/// The part of a token that makes it a secret.
fn own(secret: &str) -> &str {
    secret.rsplit(['.', '~']).next().expect("one at least")
}

/// The longest part that is in one of the texts.
fn longest(part: &str, texts: &[String]) -> usize {
    let is_seen = |size: &usize| (0..=part.len() - size).any(|at| texts.iter().any(|text| text.contains(&part[at..at + size])));
    (1..=part.len()).take_while(is_seen).last().unwrap_or(0)
}

/// How many characters of a secret can be read at one place of this text, in any of the forms that are printed above.
fn seen(secret: &str, output: &str) -> usize {
    let own = own(secret);
    let without = |gone: &str| output.replace(gone, "");
    let texts = [output.to_owned(), without("   "), without("\0")];
    let plain = longest(own, &texts);
    let swapped: Vec<u8> = own.as_bytes().chunks(2).flat_map(|pair| pair.iter().rev().copied()).collect();
    let shifted: Vec<u8> = own.as_bytes()[1..].chunks(2).flat_map(|pair| pair.iter().rev().copied()).collect();
    let wide: Vec<u8> = own.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let digits = [output.to_lowercase(), without(" ").to_lowercase()];
    let of_hex = [hex(own.as_bytes()), hex(&swapped), hex(&shifted)].map(|text| longest(&text, &digits) / 2);
    let of_wide = longest(&hex(&wide), &digits) / 4;
    // What of an encoding holds bits of its neighbours is left out.
    let core = |bytes: &[u8], skip: usize| {
        let encoded = STANDARD.encode([&b"ab"[..skip], bytes].concat());
        encoded[4..encoded.len() - 4].to_owned()
    };
    let of_base64 = (0..3).map(|skip| longest(&core(own.as_bytes(), skip), &texts) * 3 / 4).max();
    let of_twice = (0..9).map(|skip| longest(&core(core(own.as_bytes(), skip / 3).as_bytes(), skip % 3), &texts) * 9 / 16).max();
    let of_wide64 = (0..3).map(|skip| longest(&core(&wide, skip), &texts) * 3 / 8).max();
    [Some(plain), of_hex.into_iter().max(), Some(of_wide), of_base64, of_twice, of_wide64].into_iter().flatten().max().unwrap_or(0)
}

/// Generated, so that none stands anywhere.
fn random(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random).expect("random bytes");
    URL_SAFE_NO_PAD.encode(random)
}

fn secrets() -> [String; 4] {
    let claims = |size: usize| {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", part(r#"{"alg":"RS256"}"#), part(r#"{"sub":"system:serviceaccount:ci:deploy-bot"}"#), random(size))
    };
    // Letters and digits: with `-` and `_` a value would be escaped by some, and is hidden then as a whole.
    let value = random(48).replace(['-', '_'], "0");
    [claims(256), claims(64), format!("sha256~{}", random(32)), value[..44].to_owned()]
}

fn has(program: &str) -> bool {
    ["/usr/bin", "/bin"].iter().any(|place| Path::new(place).join(program).exists())
}

#[test]
fn of_each_way_to_print_a_secret_no_more_is_seen_than_the_table_says() {
    let world = World::sandbox("nothing is sent");
    let job = Job::local(&world);
    job.set("SERVER", world.url());
    let mut wrong = Vec::new();
    for secret in secrets() {
        job.set("SECRET", &secret);
        for (row, script, most) in WAYS {
            // Not every machine has vim's xxd, or bsdmainutils.
            let missing = ["xxd", "hexdump", "column", "curl", "openssl", "rev"].iter().find(|tool| script.contains(**tool) && !has(tool));
            if missing.is_some() {
                continue;
            }
            let script = format!("{{ {script}; }} | jobpass scrub --scrub-env SECRET");
            let ran = job.shell("sh", &script).succeed();
            let found = seen(&secret, &ran.stdout);
            let is_value = !secret.contains(['.', '~']);
            let is_right = match most {
                Most(most) => found <= most.max(CHANCE),
                Of(most, of_value) => found <= if is_value { of_value } else { most }.max(CHANCE),
                // Nothing of it is changed, so whoever wants to read it can.
                All => !ran.stdout.contains("***"),
            };
            if !is_right {
                wrong.push(format!("{found} of {row}: {script}\n{}", ran.stdout));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_has_these_rows() {
    let page = pages().into_iter().find(|page| page.path == "docs/security.md").expect("the page").text;
    let table = page.split("| how it is printed |").nth(1).expect("the table");
    let rows: BTreeSet<_> = table.lines().skip(2).map_while(|line| line.strip_prefix("| ")?.split(" | ").next()).collect();
    assert_eq!(rows, WAYS.iter().map(|(row, ..)| *row).collect());
}

#[test]
fn on_a_real_cluster_what_kubectl_makes_of_a_pass_for_a_secret_is_hidden() {
    let world = World::new();
    if world.is_sandbox() {
        return;
    }
    let job = Job::local(&world);
    let request = job.request().succeed();
    job.enter(&request);
    let token = job.get("OPENSHIFT_TOKEN").expect("exported");
    let create = format!("'{}' kubectl create secret generic x --dry-run=client", ControlPlane::binary().display());
    let script = format!(
        "{{ {create} -o yaml --from-file=token=\"$JOBPASS_TOKEN_FILE\" --from-literal=twice=\"$(base64 -w 0 \"$JOBPASS_TOKEN_FILE\")\"
        {create} -o json --from-file=config=\"$KUBECONFIG\" --from-literal=lines=\"$(base64 \"$JOBPASS_TOKEN_FILE\")\"; }} | jobpass scrub"
    );
    let ran = job.shell("sh", &script).succeed();
    assert!(ran.stdout.matches("***").count() >= 4 && ran.stdout.contains("twice: "), "{}", ran.stdout);
    assert!(seen(&token, &ran.stdout) <= CHANCE, "{}", ran.stdout);
    job.revoke().succeed();
}
