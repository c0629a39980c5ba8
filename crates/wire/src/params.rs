use crate::{Reader, Wire, WireError};
use veilsum_crypto::{Digest, labels};
use veilsum_params::{Beacon, ClientId, MemberSlot, RoundParams};

impl Wire for MemberSlot {
    const MIN_LEN: usize = 36;
    fn encode(&self, out: &mut Vec<u8>) {
        self.client.encode(out);
        self.share_key.encode(out);
    }
    fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            client: ClientId::decode(r)?,
            share_key: r.array()?,
        })
    }
}

impl Wire for Beacon {
    const MIN_LEN: usize = 72;
    fn encode(&self, out: &mut Vec<u8>) {
        self.source.encode(out);
        self.round.encode(out);
        self.value.encode(out);
    }
    fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            source: r.array()?,
            round: u64::decode(r)?,
            value: r.array()?,
        })
    }
}

macro_rules! round_params {
    ($($field:ident),*) => {
        impl Wire for RoundParams {
            const MIN_LEN: usize = 200;
            fn encode(&self, out: &mut Vec<u8>) {
                $(self.$field.encode(out);)*
            }
            fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
                $(let $field = Wire::decode(r)?;)*
                Ok(Self { $($field),* })
            }
        }
        /// The fields of the round parameters in the order of their bytes, for `specs/wire.md`.
        pub const ROUND_PARAMS_FIELDS: &[&str] = &[$(stringify!($field)),*];
    };
}
round_params! {
    protocol_version, generator_set, round_id, epoch, server_key, model_digest, roster_digest, beacon, dim, scale_bits,
    norm_bound, weight_max, predicates, groups, cohort_size, n_max, n_min, malicious_max, threshold, committee,
    contribute_deadline_ms
}

/// Digest of the encoding of the round parameters; every message of the round carries it.
pub fn params_digest(params: &RoundParams) -> Digest {
    Digest::of(labels::PARAMS_DIGEST, &params.to_bytes())
}
