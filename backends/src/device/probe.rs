//! What a device really computes, and how fast: tried, not asked.

use crate::ops;
use burn::tensor::{DType, Device, Tensor};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Runs work that a driver may end with a panic; none if it does.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// The formats in which a small matrix product comes out right.
pub fn computing_dtypes(device: &Device) -> Vec<&'static str> {
    let formats = [
        ("f32", DType::F32),
        ("bf16", DType::BF16),
        ("f16", DType::F16),
    ];
    formats
        .into_iter()
        .filter(|(_, dtype)| device.supports_dtype(*dtype))
        .filter(|(_, dtype)| guarded(|| multiplies(device, *dtype)).unwrap_or_default())
        .map(|(name, _)| name)
        .collect()
}

fn multiplies(device: &Device, dtype: DType) -> bool {
    let a = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 4.0]], device).cast(dtype);
    let product = a.clone().matmul(a).cast(DType::F32).into_data();
    product
        .try_to_vec::<f32>()
        .is_ok_and(|values| values == [7.0, 10.0, 15.0, 22.0])
}

/// Floating-point operations a second of an f32 matrix product on `device`, over about a tenth of a second.
pub fn matrix_rate(device: &Device) -> f64 {
    const ROWS: usize = 512;
    const WIDTH: usize = 1024;
    let x = Tensor::<2>::ones([ROWS, WIDTH], device);
    let weight = Tensor::<2>::ones([WIDTH, WIDTH], device);
    // Reading one number back waits for the device.
    let product = || {
        ops::linear(x.clone(), weight.clone())
            .slice([0..1, 0..1])
            .into_data()
    };
    product();
    let began = Instant::now();
    let mut products = 0;
    while began.elapsed() < Duration::from_millis(100) {
        product();
        products += 1;
    }
    (products * 2 * ROWS * WIDTH * WIDTH) as f64 / began.elapsed().as_secs_f64()
}
