/* Learning rates that change during training: by the step's number, or by what was reached. */
#include <math.h>

#include "internal/context.h"

static equinv_status check_schedule(const equinv_schedule *s)
{
    EQI_CHECK(s, ARG, "schedule is NULL, expected a schedule");
    EQI_TRY(eqi_check_desc(s->struct_size, sizeof *s, "equinv_schedule"));
    EQI_CHECK(s->kind >= EQUINV_SCHEDULE_CONSTANT && s->kind <= EQUINV_SCHEDULE_ONE_CYCLE, ARG,
              "kind is %d, expected EQUINV_SCHEDULE_CONSTANT, _COSINE or _ONE_CYCLE", (int)s->kind);
    EQI_CHECK(s->steps >= 1, ARG, "steps is %" PRId64 ", expected at least 1", s->steps);
    EQI_CHECK(s->warm_up >= 0 && s->warm_up < 1, ARG, "warm_up is %g, expected 0 or more, below 1",
              s->warm_up);
    const struct {
        const char *name;
        double value;
    } rates[] = {{"first", s->first}, {"peak", s->peak}, {"last", s->last}};
    for (int i = 0; i < 3; i++)
        EQI_CHECK(rates[i].value >= 0 && isfinite(rates[i].value), ARG,
                  "%s is %g, expected 0 or more", rates[i].name, rates[i].value);
    return EQUINV_OK;
}

/* Half a cosine from a (t = 0) to b (t = 1). */
static double between(double a, double b, double t)
{
    return b + (a - b) * 0.5 * (1 + cos(3.14159265358979323846 * t));
}

equinv_status equinv_schedule_rate(const equinv_schedule *schedule, int64_t step,
                                   double *learning_rate)
{
    EQI_TRY(check_schedule(schedule));
    EQI_CHECK(step >= 0, ARG, "step is %" PRId64 ", expected 0 or more", step);
    EQI_CHECK(learning_rate, ARG, "learning_rate is NULL, expected where to put it");
    const double end = (double)(schedule->steps > 1 ? schedule->steps - 1 : 1);
    const double t = fmin((double)step / end, 1);
    const double turn = schedule->kind == EQUINV_SCHEDULE_ONE_CYCLE ? schedule->warm_up : 0;
    if (schedule->kind == EQUINV_SCHEDULE_CONSTANT)
        *learning_rate = schedule->peak;
    else if (t < turn)
        *learning_rate = between(schedule->first, schedule->peak, t / turn);
    else
        *learning_rate = between(schedule->peak, schedule->last, (t - turn) / (1 - turn));
    return EQUINV_OK;
}

equinv_status equinv_plateau_update(equinv_plateau *plateau, double value, double *learning_rate)
{
    EQI_CHECK(plateau, ARG, "plateau is NULL, expected a plateau");
    EQI_TRY(eqi_check_desc(plateau->struct_size, sizeof *plateau, "equinv_plateau"));
    EQI_CHECK(plateau->factor > 0 && plateau->factor < 1, ARG,
              "factor is %g, expected more than 0 and less than 1", plateau->factor);
    EQI_CHECK(plateau->threshold >= 0 && plateau->threshold < 1, ARG,
              "threshold is %g, expected 0 or more, below 1", plateau->threshold);
    EQI_CHECK(plateau->least >= 0 && isfinite(plateau->least), ARG,
              "least is %g, expected 0 or more", plateau->least);
    EQI_CHECK(plateau->patience >= 0, ARG, "patience is %" PRId64 ", expected 0 or more",
              plateau->patience);
    EQI_CHECK(plateau->cooldown >= 0, ARG, "cooldown is %" PRId64 ", expected 0 or more",
              plateau->cooldown);
    EQI_CHECK(learning_rate && *learning_rate >= 0 && isfinite(*learning_rate), ARG,
              "learning_rate is %g, expected 0 or more",
              learning_rate ? *learning_rate : (double)NAN);
    if (value < plateau->best - plateau->threshold * fabs(plateau->best) ||
        (isinf(plateau->best) && isfinite(value))) {
        plateau->best = value;
        plateau->waited = 0;
    } else {
        plateau->waited++;
    }
    if (plateau->resting > 0) {
        plateau->resting--;
        plateau->waited = 0;
    }
    if (plateau->waited > plateau->patience) {
        *learning_rate =
            fmax(*learning_rate * plateau->factor, fmin(plateau->least, *learning_rate));
        plateau->resting = plateau->cooldown;
        plateau->waited = 0;
    }
    return EQUINV_OK;
}
