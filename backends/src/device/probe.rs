//! What a device really computes, and how fast: tried, not asked.

use crate::ops::{self, Operands};
use burn::backend::DispatchDevice;
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
        ("f32", Operands::F32),
        ("bf16", Operands::Bf16),
        ("f16", Operands::F16),
    ];
    formats
        .into_iter()
        .filter(|(_, operands)| computes(device, *operands))
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

/// Whether products on `device` can read `operands`: a small one is tried at every call.
pub fn computes(device: &Device, operands: Operands) -> bool {
    let dtype = operands.dtype();
    device.supports_dtype(dtype) && guarded(|| multiplies(device, dtype)).unwrap_or_default()
}

/// The narrowest operands that a card computes with, of two equally narrow ones that with f32's range. The CPU has no
/// narrow products worth having.
pub fn narrowest(device: &Device) -> Operands {
    let on_cpu = matches!(
        device.clone().inner().as_dispatch(),
        DispatchDevice::Flex(_)
    );
    let formats = [Operands::Bf16, Operands::F16];
    match on_cpu {
        true => Operands::F32,
        false => formats
            .into_iter()
            .find(|&operands| computes(device, operands))
            .unwrap_or_default(),
    }
}

/// Floating-point operations a second of a matrix product on `device` that reads `operands`, over about a tenth of a
/// second. The product grows until it takes long enough for the way to the device not to count.
pub fn matrix_rate(device: &Device, operands: Operands) -> f64 {
    const LONG_ENOUGH: Duration = Duration::from_millis(2);
    const LARGEST: usize = 8192;
    let mut size = 1024;
    loop {
        let x = Tensor::<2>::ones([size / 2, size], device);
        let weight = Tensor::<2>::ones([size, size], device).cast(operands.dtype());
        // Only a number that is looked at was waited for: the bytes of `into_data` come when they are read.
        let product = || {
            let one = ops::linear(x.clone(), weight.clone(), operands).slice([0..1, 0..1]);
            std::hint::black_box(one.into_data().iter::<f32>().next());
        };
        product();
        let began = Instant::now();
        product();
        if began.elapsed() < LONG_ENOUGH && size < LARGEST {
            size *= 2;
            continue;
        }
        let began = Instant::now();
        let mut products = 0;
        while began.elapsed() < Duration::from_millis(100) {
            product();
            products += 1;
        }
        return (products * size * size * size) as f64 / began.elapsed().as_secs_f64();
    }
}
