//! Size of a task, workers, autoscaling.

use super::{Answer, done_per_hour, over, simulate, wait_p95, waits_hold, worker_capacity};
use crate::review::evidence::{Evidence, QUEUE_DEPTH_WORKERS, ROOMY_WORKERS, WORKER_STEPS};
use crate::review::facts::{FARGATE_VCPU_QUOTA, PUBLIC_FASTAPI_GIB};
use crate::review::words::{about, percent, say, usd};
use crate::review::{Figure, Text, Unit};

/// CPU that one task's busy workers use, as a share of its vCPU.
fn busy_share(evidence: &Evidence, workers: u32, vcpu: f64) -> f64 {
    let rate = f64::from(workers) / evidence.generation_s();
    evidence.calibration.cpu_cores_at_most(rate) / vcpu
}

/// Workers at which so much of a vCPU would be used.
fn workers_at(evidence: &Evidence, share: f64, vcpu: f64) -> f64 {
    let rate = evidence
        .calibration
        .generations_per_s_at_least(share * vcpu);
    rate * evidence.generation_s()
}

/// The same with every generation charged as one that runs alone, as simulations charge it.
fn workers_alone(evidence: &Evidence, share: f64, vcpu: f64) -> f64 {
    share * vcpu * evidence.generation_s() / evidence.calibration.cpu_s_per_generation_at_most()
}

fn fargate_usd(evidence: &Evidence, vcpu: f64, memory_gib: f64, tasks: u32) -> f64 {
    evidence
        .bill(
            |fleet| (fleet.vcpu, fleet.memory_gib) = (vcpu, memory_gib),
            tasks,
        )
        .fargate()
        .as_usd()
}

pub(super) fn two_vcpu(evidence: &Evidence) -> Answer {
    let share = busy_share(evidence, evidence.proposal.generation_workers, 2.0);
    let (large, small) = (
        fargate_usd(evidence, 2.0, 4.0, 1),
        fargate_usd(evidence, 0.25, 0.5, 1),
    );
    let (two, quarter) = (
        evidence.run("task_2_vcpu"),
        evidence.run("task_quarter_vcpu"),
    );
    let public = evidence.run("fastapi_not_recycled");
    let public_used = over(public, |outcome| outcome.cpu_utilization).mean;
    let pdf_cpu_s = public
        .scenario
        .fleet
        .async_workers()
        .map_or(0.0, |settings| settings.pdf_cpu_s);
    Answer {
        asked: say!(
            "Is 2 vCPU + 4 GB appropriate?",
            "¿2 vCPU + 4GB es apropiado?"
        ),
        answer: say!(
            "No, it is eight times too large: this backend's generation waits for OpenAI, and six busy workers use {share} of 2 vCPU. A task of 0.25 vCPU and 0.5 GiB with {workers} workers does the same for {small} a month instead of {large}.",
            "No, es ocho veces más grande de lo necesario: las generaciones de este backend esperan a OpenAI, y seis workers ocupados usan el {share} de 2 vCPU. Una tarea de 0.25 vCPU y 0.5 GiB con {workers} workers hace lo mismo por {small} al mes en lugar de {large}.",
            share = percent(share),
            workers = ROOMY_WORKERS,
            small = usd(small),
            large = usd(large)
        ),
        figures: vec![
            Figure::calibrated(
                say!(
                    "CPU of one generation, calibrated, of many at a time",
                    "CPU de una generación, según la calibración, entre muchas a la vez"
                ),
                Unit::Seconds,
                evidence.calibration.cpu_s_per_generation,
                1.0,
                4,
            ),
            Figure::exact(
                say!(
                    "CPU of one generation, calibrated, as simulated: alone, the dearest",
                    "CPU de una generación, según la calibración, la simulada: sola, la más cara"
                ),
                Unit::Seconds,
                evidence.calibration.cpu_s_per_generation_at_most(),
                4,
            ),
            done_per_hour(say!("one task of 2 vCPU", "una tarea de 2 vCPU"), two),
            done_per_hour(
                say!("one task of 0.25 vCPU", "una tarea de 0.25 vCPU"),
                quarter,
            ),
        ],
        command: simulate("task_quarter_vcpu"),
        would_change: say!(
            "Rendering in process with a browser: a public FastAPI service of this kind, measured apart (simulator/scenarios/fastapi.toml), has a Chromium beside each worker and takes {pdf:.2} CPU seconds for one PDF and {gib:.1} GiB after the first ones. It needs the 4 GB, for 2 are too little. Of its 2 vCPU this load uses {used}; they shorten the time for which a worker that writes a PDF answers nobody: about {soon:.0} s, on a quarter of a vCPU {late:.0} s. The FastAPI service beside this backend, near the end, is another: written for that comparison, it draws without a browser and has figures of its own.",
            "Generar el PDF dentro del proceso con un navegador: un servicio FastAPI público de este tipo, medido aparte (simulator/scenarios/fastapi.toml), tiene un Chromium junto a cada worker y usa {pdf:.2} segundos de CPU por PDF y {gib:.1} GiB después de los primeros. Necesita los 4 GB, porque 2 no bastan. De sus 2 vCPU esta carga usa el {used}; acortan el tiempo en que un worker que genera un PDF no responde a nadie: unos {soon:.0} s, y con un cuarto de vCPU {late:.0} s. El servicio FastAPI que aparece junto a este backend, casi al final, es otro: escrito para esa comparación, dibuja sin navegador y tiene sus propias cifras.",
            pdf = pdf_cpu_s,
            gib = PUBLIC_FASTAPI_GIB,
            soon = pdf_cpu_s,
            late = pdf_cpu_s / 0.25,
            used = percent(public_used)
        ),
        holds: share < 0.01
            && public_used < 0.1
            && same_rate(
                two.replications.throughput_per_hour.mean,
                quarter.replications.throughput_per_hour.mean,
            ),
    }
}

fn same_rate(one: f64, other: f64) -> bool {
    (one - other).abs() <= 0.01 * one.max(other)
}

pub(super) fn speculative(evidence: &Evidence) -> Answer {
    let base = evidence.calibration.memory_base_mib.value;
    let in_flight_mib = evidence.calibration.memory_per_generation_kib.value / 1024.0;
    let used = base + in_flight_mib * f64::from(ROOMY_WORKERS);
    Answer {
        asked: say!(
            "Is 2 vCPU + 4 GB appropriate or speculative?",
            "¿2 vCPU + 4GB apropiado o especulativo?"
        ),
        answer: say!(
            "Speculative, and the speculation was wrong: measured, the backend with {workers} generations in flight takes {used:.1} MiB of the 4096. The review's fallback, 1 vCPU + 2 GB, is still four times the CPU that is for sale in the smallest task, which is enough.",
            "Especulativo, y la especulación era errónea: medido, el backend con {workers} generaciones en curso ocupa {used:.1} MiB de los 4096. La alternativa del documento, 1 vCPU + 2 GB, sigue siendo cuatro veces la CPU de la tarea más pequeña que se vende, que basta.",
            workers = ROOMY_WORKERS,
            used = used
        ),
        figures: vec![
            Figure::calibrated(
                say!(
                    "memory of the idle backend, calibrated (MiB)",
                    "memoria del backend inactivo, según la calibración (MiB)"
                ),
                Unit::Number,
                evidence.calibration.memory_base_mib,
                1.0,
                1,
            ),
            Figure::calibrated(
                say!(
                    "memory of one generation in flight (MiB)",
                    "memoria de una generación en curso (MiB)"
                ),
                Unit::Number,
                evidence.calibration.memory_per_generation_kib,
                1.0 / 1024.0,
                3,
            ),
            wait_p95(
                say!(
                    "wait, 95 %, one task of 1 vCPU and 2 GiB",
                    "espera, 95 %, una tarea de 1 vCPU y 2 GiB"
                ),
                evidence.run("task_1_vcpu"),
            ),
            wait_p95(
                say!(
                    "wait, 95 %, one task of 0.25 vCPU and 0.5 GiB",
                    "espera, 95 %, una tarea de 0.25 vCPU y 0.5 GiB"
                ),
                evidence.run("task_quarter_vcpu"),
            ),
        ],
        command: simulate("task_1_vcpu"),
        would_change: say!(
            "Documents far larger than the ones measured, or a machine much slower than the one that measured: the smallest task could work on {times:.0} times as many generations at a time.",
            "Documentos mucho mayores que los medidos, o una máquina mucho más lenta que la de la medición: la tarea más pequeña podría con {times:.0} veces esa cantidad.",
            times = (workers_alone(evidence, 0.7, 0.25).min((512.0 - base) / in_flight_mib)
                / f64::from(ROOMY_WORKERS))
            .floor()
        ),
        holds: used < 512.0 && waits_hold(evidence, evidence.run("task_quarter_vcpu")),
    }
}

pub(super) fn without_metrics(evidence: &Evidence) -> Answer {
    let bill = evidence.proposal_bill().fargate().as_usd();
    let small = fargate_usd(evidence, 0.25, 0.5, evidence.proposal.tasks_desired);
    Answer {
        asked: say!(
            "Is the sizing (2 vCPU, 4 GB) reasonable without metrics?",
            "¿Resource sizing (2 vCPU, 4GB) razonable sin métricas?"
        ),
        answer: say!(
            "No, and the metrics need no deployment: this repository measures the backend on a laptop in minutes. With them two tasks cost {small} a month, not {bill}.",
            "No, y las métricas no requieren desplegar nada: este repositorio mide el backend en un portátil en minutos. Con ellas dos tareas cuestan {small} al mes, no {bill}.",
            small = usd(small),
            bill = usd(bill)
        ),
        figures: vec![
            Figure::exact(
                say!("two tasks as proposed", "dos tareas según la propuesta"),
                Unit::UsdPerMonth,
                bill,
                2,
            ),
            Figure::exact(
                say!(
                    "two tasks of 0.25 vCPU and 0.5 GiB",
                    "dos tareas de 0.25 vCPU y 0.5 GiB"
                ),
                Unit::UsdPerMonth,
                small,
                2,
            ),
        ],
        command: "cargo sizing measure".to_owned(),
        would_change: say!(
            "A changed backend: measure again, the calibration names the commit that it is of.",
            "Un backend distinto: hay que medir de nuevo; la calibración nombra el commit al que corresponde."
        ),
        holds: small < bill / 4.0,
    }
}

pub(super) fn thresholds(evidence: &Evidence) -> Answer {
    let (queued, by_queue) = (evidence.run("queued"), evidence.run("queue_depth"));
    let (held, roomy) = (evidence.run("queue_depth_two"), evidence.run("task_2_vcpu"));
    let promised_s = evidence
        .load
        .slo
        .wait_p95
        .map_or(f64::NAN, simulator::time::Duration::as_secs_f64);
    let cpu = over(queued, |outcome| outcome.cpu_utilization * 100.0);
    let memory = over(queued, |outcome| outcome.memory_utilization * 100.0);
    let busy = over(queued, |outcome| outcome.worker_utilization * 100.0);
    let outs = |run| {
        over(run, |outcome| {
            crate::stats::count_u64_as_f64(outcome.scale_out_count)
        })
    };
    let needed = workers_at(evidence, 0.7, 2.0);
    Answer {
        asked: say!(
            "Are the autoscaling thresholds (70 % CPU, 80 % memory) adequate?",
            "¿Auto-scaling thresholds (70% CPU, 80% Memory) adecuados?"
        ),
        answer: say!(
            "No threshold on CPU or memory is: with {busy:.0} % of the workers busy, CPU stands at {cpu:.2} % and memory at {memory:.1} %, so the alarms never fire ({outs:.0} scale-outs in a day that drowns); CPU would reach 70 % at {dear} workers when each generation is charged as one that runs alone, as here, and at {needed} by what many at a time were measured to cost. Scaling on the queue's depth is the right signal but comes too late by itself: from one task of six workers one in twenty still waits {late:.0} s where {promised:.0} s are promised. What keeps the promise is to follow the queue from two tasks of {workers} workers on ({held:.0} s), or {roomy} workers in a single task, which then has nothing to scale ({alone:.0} s).",
            "Ningún umbral de CPU o memoria lo es: con el {busy:.0} % de los workers ocupados, la CPU está en el {cpu:.2} % y la memoria en el {memory:.1} %, así que las alarmas nunca se disparan ({outs:.0} ampliaciones en un día en que la cola no deja de crecer); la CPU llegaría al 70 % con {dear} workers si cada generación cuesta lo que una sola, como aquí, y con {needed} según lo medido con muchas a la vez. La longitud de la cola es la señal correcta, pero por sí sola llega tarde: si se parte de una tarea de seis workers, una de cada veinte generaciones aún espera {late:.0} s, y lo prometido son {promised:.0} s. Lo que cumple es seguir la cola a partir de dos tareas de {workers} workers ({held:.0} s), o bien {roomy} workers en una sola tarea, que entonces no tiene nada que escalar ({alone:.0} s).",
            busy = busy.mean,
            cpu = cpu.mean,
            memory = memory.mean,
            outs = outs(queued).mean,
            dear = about(workers_alone(evidence, 0.7, 2.0)),
            needed = about(needed),
            late = by_queue.replications.wait_p95_s.mean,
            promised = promised_s,
            workers = QUEUE_DEPTH_WORKERS,
            held = held.replications.wait_p95_s.mean,
            roomy = ROOMY_WORKERS,
            alone = roomy.replications.wait_p95_s.mean
        ),
        figures: [
            Figure::over_seeds(
                say!("workers busy", "workers ocupados"),
                Unit::Percent,
                busy,
                1,
            ),
            Figure::over_seeds(
                say!("CPU used meanwhile", "CPU usada mientras tanto"),
                Unit::Percent,
                cpu,
                3,
            ),
            Figure::over_seeds(
                say!(
                    "scale-outs in a day, CPU and memory",
                    "ampliaciones en un día, CPU y memoria"
                ),
                Unit::Number,
                outs(queued),
                1,
            ),
            Figure::over_seeds(
                say!(
                    "scale-outs in a day, queue depth",
                    "ampliaciones en un día, longitud de la cola"
                ),
                Unit::Number,
                outs(by_queue),
                1,
            ),
        ]
        .into_iter()
        .chain(waits_by_scaling(evidence))
        .collect(),
        command: simulate("queue_depth_two"),
        would_change: say!(
            "Work that computes instead of waiting: above some {cores:.0} CPU seconds a generation six workers would fill 70 % of 2 vCPU.",
            "Un trabajo que calcule en lugar de esperar: con más de unos {cores:.0} segundos de CPU por generación, seis workers llenarían el 70 % de 2 vCPU.",
            cores = 0.7 * 2.0 * evidence.generation_s()
                / f64::from(evidence.proposal.generation_workers)
        ),
        holds: outs(queued).mean <= 0.0
            && busy.mean > 90.0
            && by_queue.replications.wait_p95_s.mean < queued.replications.wait_p95_s.mean
            && !waits_hold(evidence, by_queue)
            && waits_hold(evidence, held)
            && waits_hold(evidence, roomy),
    }
}

/// The wait with each way to scale, the last of them with nothing to scale.
fn waits_by_scaling(evidence: &Evidence) -> [Figure; 4] {
    let (queued, by_queue) = (evidence.run("queued"), evidence.run("queue_depth"));
    let (held, roomy) = (evidence.run("queue_depth_two"), evidence.run("task_2_vcpu"));
    [
        wait_p95(
            say!("wait, 95 %, CPU and memory", "espera, 95 %, CPU y memoria"),
            queued,
        ),
        wait_p95(
            say!(
                "wait, 95 %, queue depth, 1 to 3 tasks of 6 workers",
                "espera, 95 %, longitud de la cola, 1 a 3 tareas de 6 workers"
            ),
            by_queue,
        ),
        wait_p95(
            say!(
                "wait, 95 %, queue depth, 2 to 3 tasks of {workers} workers",
                "espera, 95 %, longitud de la cola, 2 a 3 tareas de {workers} workers",
                workers = QUEUE_DEPTH_WORKERS
            ),
            held,
        ),
        wait_p95(
            say!(
                "wait, 95 %, one task of {workers} workers, no scaling",
                "espera, 95 %, una tarea de {workers} workers, sin escalado",
                workers = ROOMY_WORKERS
            ),
            roomy,
        ),
    ]
}

pub(super) fn min_and_max(evidence: &Evidence) -> Answer {
    let queued = evidence.run("queued");
    let at_min = worker_capacity(queued, evidence.proposal.tasks_min);
    let deploying = evidence.deployment_vcpu;
    Answer {
        asked: say!(
            "Is min 1 / max 3 tasks appropriate for an MVP?",
            "¿Min 1 / Max 3 tasks apropiado para MVP?"
        ),
        answer: say!(
            "Not with these alarms and this size. Idle CPU scales the two tasks in to one ({tasks:.2} on average), whose six workers carry {at_min:.1} of the {asked:.0} generations an hour; and a rolling deployment of three tasks asks for {deploying:.0} vCPU where a new account has {quota:.0}.",
            "No con estas alarmas y este tamaño. La CPU ociosa reduce las dos tareas a una ({tasks:.2} en promedio), cuyos seis workers procesan {at_min:.1} de las {asked:.0} generaciones por hora; y un despliegue gradual (rolling) de tres tareas pide {deploying:.0} vCPU cuando una cuenta nueva tiene {quota:.0}.",
            tasks = queued.replications.tasks_mean.mean,
            at_min = at_min,
            asked = evidence.asked_per_hour(),
            deploying = deploying,
            quota = FARGATE_VCPU_QUOTA
        ),
        figures: vec![
            Figure::over_seeds(
                say!("tasks on average", "tareas en promedio"),
                Unit::Tasks,
                queued.replications.tasks_mean,
                2,
            ),
            done_per_hour(say!("done per hour", "terminadas por hora"), queued),
            wait_p95(say!("wait, 95 %", "espera, 95 %"), queued),
            Figure::exact(
                say!(
                    "vCPU of a rolling deployment at the maximum",
                    "vCPU de un despliegue gradual con el máximo de tareas"
                ),
                Unit::Vcpu,
                deploying,
                0,
            ),
        ],
        command: simulate("queued"),
        would_change: say!(
            "Tasks of 0.25 vCPU: the default quota then holds 24 of them, and the range matters less than the workers.",
            "Tareas de 0.25 vCPU: la cuota por defecto admite entonces 24, y el rango importa menos que los workers."
        ),
        holds: at_min < evidence.asked_per_hour()
            && deploying > FARGATE_VCPU_QUOTA
            && queued.replications.tasks_mean.mean < 1.5,
    }
}

/// The fewest workers per task with which two tasks keep the promised wait.
pub(super) fn fewest_workers(evidence: &Evidence) -> Option<u32> {
    WORKER_STEPS
        .into_iter()
        .find(|workers| waits_hold(evidence, evidence.run(&format!("workers_{workers:02}"))))
}

pub(super) fn six_workers(evidence: &Evidence) -> Answer {
    let (recycled, kept) = (
        evidence.run("fastapi_recycled"),
        evidence.run("fastapi_not_recycled"),
    );
    let unanswering = |run| over(run, |outcome| outcome.unanswering_s.unwrap_or(0.0) / 60.0);
    let enough = fewest_workers(evidence);
    let six = evidence.run("workers_06");
    Answer {
        asked: say!(
            "Gunicorn with 6 workers: is it the right number?",
            "Gunicorn con 6 workers: ¿Es el número correcto?"
        ),
        answer: say!(
            "No. With two tasks that stay on, six workers each make one generation in twenty wait {wait:.0} s or more; {enough} keep the promise, at no cost. If they are Gunicorn's and recycle at 100 requests, each poll counts: the public FastAPI service of question 3 then answers nobody for {deaf:.0} task-minutes of a day.",
            "No. Con dos tareas siempre encendidas, seis workers en cada una hacen que una de cada veinte generaciones espere {wait:.0} s o más; con {enough} se cumple lo prometido, sin costo adicional. Si son de Gunicorn y se reciclan a las 100 peticiones, cada consulta de estado cuenta: el servicio FastAPI público de la pregunta 3 no responde a nadie durante {deaf:.0} minutos-tarea al día.",
            wait = six.replications.wait_p95_s.mean,
            enough = enough.unwrap_or(0),
            deaf = unanswering(recycled).mean
        ),
        figures: vec![
            wait_p95(
                say!(
                    "wait, 95 %, two tasks of 6 workers",
                    "espera, 95 %, dos tareas de 6 workers"
                ),
                six,
            ),
            enough.map_or_else(
                || {
                    Figure::exact(
                        say!("workers that suffice", "workers que bastan"),
                        Unit::Workers,
                        f64::NAN,
                        0,
                    )
                },
                |workers| {
                    wait_p95(
                        say!(
                            "wait, 95 %, two tasks of {workers} workers",
                            "espera, 95 %, dos tareas de {workers} workers",
                            workers = workers
                        ),
                        evidence.run(&format!("workers_{workers:02}")),
                    )
                },
            ),
            Figure::over_seeds(
                say!(
                    "task-minutes a day without an answer, --max-requests 100",
                    "minutos-tarea al día sin respuesta, --max-requests 100"
                ),
                Unit::Minutes,
                unanswering(recycled),
                0,
            ),
            Figure::over_seeds(
                say!("the same without recycling", "lo mismo sin reciclado"),
                Unit::Minutes,
                unanswering(kept),
                0,
            ),
        ],
        command: simulate("workers_06"),
        would_change: say!(
            "The load: workers needed follow arrivals times length (Little's law). --max-requests belongs off where requests are long.",
            "La carga: los workers necesarios siguen a las llegadas por la duración (ley de Little). Con peticiones largas, --max-requests debe estar desactivado."
        ),
        holds: enough.is_some_and(|workers| workers > 6)
            && unanswering(recycled).mean > unanswering(kept).mean,
    }
}

pub(super) fn dynamic_workers(evidence: &Evidence) -> Answer {
    let by_cpu = workers_at(evidence, 0.7, 0.25);
    let dear = workers_alone(evidence, 0.7, 0.25);
    let in_flight = evidence.asked_per_hour() * evidence.generation_s() / 3600.0;
    let per_vcpu: Text = say!(
        "workers that a quarter vCPU carries at 70 %, by the cost of many at a time",
        "workers que un cuarto de vCPU soporta al 70 %, según el costo de muchas a la vez"
    );
    Answer {
        asked: say!(
            "Should it be dynamic, following the CPU count?",
            "¿Debería ser dinámico según CPU?"
        ),
        answer: say!(
            "No. Gunicorn's rule, 2 × cores + 1, is for work that computes. Here {in_flight:.1} generations are in flight on average and a quarter vCPU could carry {dear}, each charged as one that runs alone, or {by_cpu} by what many at a time cost: the number follows the load, plus room for its peaks, and memory sets the ceiling.",
            "No. La regla de Gunicorn, 2 × núcleos + 1, es para trabajo que calcula. Aquí hay {in_flight:.1} generaciones en curso en promedio y un cuarto de vCPU podría llevar {dear} si cada una cuesta lo que una sola, o {by_cpu} según lo que cuestan muchas a la vez: el número sigue a la carga, con margen para los picos, y el techo lo pone la memoria.",
            in_flight = in_flight,
            dear = about(dear),
            by_cpu = about(by_cpu)
        ),
        figures: vec![
            Figure::exact(
                say!(
                    "in flight on average: arrivals × length",
                    "en curso en promedio: llegadas × duración"
                ),
                Unit::Generations,
                in_flight,
                1,
            ),
            Figure::range(
                per_vcpu,
                Unit::Workers,
                calibrated_ends(evidence, by_cpu),
                0,
            ),
            Figure::exact(
                say!(
                    "the same by the cost of one alone, as simulated",
                    "lo mismo según el costo de una sola, como se simula"
                ),
                Unit::Workers,
                dear,
                0,
            ),
            wait_p95(
                say!(
                    "wait, 95 %, 24 workers on 0.25 vCPU",
                    "espera, 95 %, 24 workers en 0.25 vCPU"
                ),
                evidence.run("task_quarter_vcpu"),
            ),
        ],
        command: simulate("task_quarter_vcpu"),
        would_change: say!(
            "A generation that renders or computes on its own worker: then the core count is the right rule.",
            "Una generación que calcule o genere el PDF en su propio worker: entonces la regla correcta es el número de núcleos."
        ),
        holds: dear > 10.0 * in_flight && by_cpu > dear,
    }
}

/// A number that is inversely proportional to the CPU time of a generation, with the 95 % interval of that time's
/// constant part.
fn calibrated_ends(evidence: &Evidence, value: f64) -> [f64; 3] {
    let cpu = evidence.calibration.cpu_s_per_generation;
    let relative = 1.96 * cpu.std_err / cpu.value;
    [value, value / (1.0 + relative), value / (1.0 - relative)]
}
