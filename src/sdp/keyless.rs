//! A description for those who may see it but not listen in.

use super::SdpText;

impl SdpText {
    /// Without the keys of media: `a=crypto` (RFC 4568 §9.1) keeps its tag, its suite and what says nothing of keys, `k=`
    /// (RFC 8866 §5.12) goes. All else stays byte for byte.
    pub fn without_keys(&self) -> SdpText {
        let lines = self.split_inclusive('\n').filter(|line| !starts_with(line, "k="));
        let kept: String = lines
            .map(|line| match starts_with(line, "a=crypto:") {
                true => without_key(line),
                false => line.to_owned(),
            })
            .collect();
        SdpText::from(kept)
    }
}

fn starts_with(line: &str, name: &str) -> bool {
    line.get(..name.len())
        .is_some_and(|begin| begin.eq_ignore_ascii_case(name))
}

/// Every word behind the suite that has a key is cut where the key begins; of the first nothing else is kept.
fn without_key(line: &str) -> String {
    const METHOD: &str = "inline:";
    let text = line.trim_end_matches(['\r', '\n']);
    let end = &line[text.len()..];
    let words = text.split(' ').enumerate().map(|(place, word)| match place {
        0 | 1 => word,
        _ => match (word.to_ascii_lowercase().find(METHOD), place) {
            (Some(at), _) => &word[..at + METHOD.len()],
            (None, 2) => "",
            (None, _) => word,
        },
    });
    words.collect::<Vec<_>>().join(" ") + end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_gone_and_all_else_is_as_it_was() {
        for (text, kept) in [
            ("v=0\r\ns=-\r\n", "v=0\r\ns=-\r\n"),
            (
                "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0|2^20|1:4\r\na=sendrecv\r\n",
                "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:\r\na=sendrecv\r\n",
            ),
            (
                "a=crypto:2 F8 inline:c2VjcmV0;inline:c2VjcmV0 KDR=1 FEC_KEY=inline:c2VjcmV0 UNENCRYPTED_SRTP",
                "a=crypto:2 F8 inline: KDR=1 FEC_KEY=inline: UNENCRYPTED_SRTP",
            ),
            ("a=Crypto:1 X INLINE:c2VjcmV0\n", "a=Crypto:1 X INLINE:\n"),
            ("a=crypto:1 X c2VjcmV0\r\n", "a=crypto:1 X \r\n"),
            ("t=0 0\r\nk=base64:c2VjcmV0\r\nm=audio", "t=0 0\r\nm=audio"),
            ("a=cryptoé\r\na=k=1\r\n", "a=cryptoé\r\na=k=1\r\n"),
        ] {
            let shown = SdpText::from(text.to_owned()).without_keys();
            assert_eq!(&*shown, kept);
            assert!(!shown.contains("c2VjcmV0"));
        }
    }
}
