//! What a bad batch above every mark means: the end of the log, a torn tail, or corruption.

use kanjo_format::BatchError;

use crate::raw::all_zero;

pub(crate) const SECTOR_BYTES: usize = 512;

/// What a bad batch means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    End,
    Torn,
    Corrupt,
}

/// Judges a bad batch above every mark. `extent` is its header's sector or, where the header
/// verifies and the payload does not, all that the header promises.
pub(crate) fn judge(error: &BatchError, extent: &[u8], data_behind: bool) -> Verdict {
    let mut sectors = extent.chunks(SECTOR_BYTES);
    match error {
        BatchError::Absent if !all_zero(extent) => Verdict::Corrupt,
        BatchError::Absent if data_behind => Verdict::Torn,
        BatchError::Absent => Verdict::End,
        BatchError::PayloadChecksum { .. } if sectors.any(all_zero) => Verdict::Torn,
        _ => Verdict::Corrupt,
    }
}

#[cfg(test)]
mod tests {
    use kanjo_format::Lsn;

    use super::*;

    #[test]
    fn only_missing_sectors_make_a_torn_tail() {
        let payload = BatchError::PayloadChecksum {
            found: 1,
            computed: 2,
        };
        let header = BatchError::HeaderChecksum {
            found: 1,
            computed: 2,
        };
        let length = BatchError::Length {
            field: "payload_bytes",
            value: u64::MAX,
            max: 1,
        };
        let place = BatchError::Place {
            found: Lsn::new(4096),
            expected: Lsn::ZERO,
        };
        let full = vec![1u8; 2000];
        let mut torn = full.clone();
        torn[512..1024].fill(0);
        let mut nearly = full.clone();
        nearly[513..1024].fill(0);
        let mut end = full.clone();
        end[1536..].fill(0);
        let zeros = vec![0u8; 512];
        let mut rest = zeros.clone();
        rest[200] = 1;
        let table: [(&BatchError, &[u8], bool, Verdict); 13] = [
            (&BatchError::Absent, &zeros, false, Verdict::End),
            (&BatchError::Absent, &zeros, true, Verdict::Torn),
            (&BatchError::Absent, &rest, true, Verdict::Corrupt),
            (&BatchError::Absent, &rest, false, Verdict::Corrupt),
            (&payload, &full, false, Verdict::Corrupt),
            (&payload, &full, true, Verdict::Corrupt),
            (&payload, &torn, false, Verdict::Torn),
            (&payload, &torn, true, Verdict::Torn),
            (&payload, &nearly, true, Verdict::Corrupt),
            (&payload, &end, false, Verdict::Torn),
            (&header, &full[..512], true, Verdict::Corrupt),
            (&length, &full[..512], true, Verdict::Corrupt),
            (&place, &full[..512], true, Verdict::Corrupt),
        ];
        for (row, (error, extent, behind, verdict)) in table.into_iter().enumerate() {
            assert_eq!(judge(error, extent, behind), verdict, "row {row}");
        }
    }
}
