use crate::base::{base, identity};
use veilsum_protocol::{check_header, decode_body, verify_contribution};
use veilsum_wire::{Header, Signed, Wire};

/// What a server does with uploaded bytes. The first byte chooses: raw header and body, or an honest contribution in which
/// places are changed, with or without a new signature. Only the honest one may be accepted.
pub fn intake(data: &[u8]) {
    let (w, valid) = (&base().world, &base().honest);
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    let (header, body) = if choice & 1 == 0 {
        let Some((len, rest)) = rest.split_first_chunk::<2>() else {
            return;
        };
        let len = usize::from(u16::from_le_bytes(*len)).min(rest.len());
        let (header, body) = rest.split_at(len);
        (Header::from_bytes(header), body.to_vec())
    } else {
        let (mut header, mut body) = (valid.header.to_bytes(), valid.body.to_bytes());
        for change in rest.chunks_exact(4) {
            let bytes = if change[3] & 1 == 0 {
                &mut header
            } else {
                &mut body
            };
            let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % bytes.len();
            bytes[at] ^= change[2];
        }
        let mut header = Header::from_bytes(&header);
        if choice & 2 != 0 {
            header = header.map(|h| Signed::sign(h.content, identity()));
        }
        (header, body)
    };
    let body = decode_body(&w.context, &body);
    if let Ok(header) = &header {
        let _ = check_header(&w.context, header);
    }
    if let (Ok(header), Ok(body)) = (header, body)
        && let Ok(verified) = verify_contribution(&w.context, &w.round, header, body)
    {
        assert_eq!(
            verified.header().content,
            valid.header.content,
            "a forged header was accepted"
        );
        assert_eq!(verified.body(), &valid.body, "a forged body was accepted");
    }
}
